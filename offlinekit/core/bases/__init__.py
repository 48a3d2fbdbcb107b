"""Bases of families of algorithms, front and implementation."""
