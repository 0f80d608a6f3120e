"""What the pages of rooms show, read in a bounded number of queries."""
