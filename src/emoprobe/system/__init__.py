"""What processes, signals, files and terminals do, for all rooms."""
