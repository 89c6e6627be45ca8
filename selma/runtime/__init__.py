"""A stage's frame: params, signals, journal, work folder, progress bar."""
