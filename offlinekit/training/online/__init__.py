"""The run that acts, remembers and learns."""
