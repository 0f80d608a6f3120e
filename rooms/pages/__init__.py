"""The pages of rooms; each page reads its data in a bounded number of queries."""
