"""Who you are, which team you are in, what you may do."""
