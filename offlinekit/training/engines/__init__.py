"""What takes the updates of a run."""
