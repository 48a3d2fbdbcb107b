"""What every room may use and none owns: answers to guessed names, and the progress of long calls."""
