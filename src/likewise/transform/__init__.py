"""Floor 4: running the functions that people write for features."""
