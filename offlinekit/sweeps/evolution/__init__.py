"""Evolution: populations that improve themselves, judged on held-out episodes or in an environment."""
