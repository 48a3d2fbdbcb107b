"""Readers of datasets, one a file; each gives a `SOURCE` and is found by itself."""
