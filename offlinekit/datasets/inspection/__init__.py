"""Contents and faults of datasets."""
