"""What comes before the first update: settings, resuming, several processes, and the run that these make."""
