"""Tools that personas use: which there are, and those of our own."""
