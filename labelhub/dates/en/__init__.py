"""English: the day first, the time in 24 hours."""
