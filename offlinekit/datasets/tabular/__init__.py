"""Tables with a meaning: their files, how periods of them differ, and weights of their rows by age."""
