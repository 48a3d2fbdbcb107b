"""What the columns of a table mean: schemas that datasets, policies and exports carry."""
