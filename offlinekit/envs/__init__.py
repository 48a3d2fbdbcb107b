"""Environments: made, adapted, and run with policies."""
