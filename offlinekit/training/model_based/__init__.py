"""Runs of algorithms that learn inside a model, and of the model itself."""
