"""Engines, which take the updates of a run."""
