"""What a run does besides writing: its tool calls, and the decisions of people on them."""
