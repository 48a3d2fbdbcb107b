"""What a policy sees of the past."""
