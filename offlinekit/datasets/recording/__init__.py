"""Datasets recorded from policies in environments."""
