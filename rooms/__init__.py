"""The product: rooms, their messages, the runs that answer them, and how they reach members."""
