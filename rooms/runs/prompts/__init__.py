"""What models get of a room, and what remains of it: the budget, records of prompts, summaries."""
