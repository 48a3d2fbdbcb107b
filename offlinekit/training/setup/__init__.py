"""Everything before the first update: settings, resuming, several processes, and making the run."""
