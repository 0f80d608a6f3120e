"""Time from a message to the first text of its answer."""
