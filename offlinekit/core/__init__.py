"""Parts of every algorithm: front, implementation, files."""
