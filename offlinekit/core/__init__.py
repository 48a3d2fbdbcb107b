"""What every algorithm is made of: front, implementation, files."""
