"""A cluster of processes, clients that record its events, and the oracle that judges both."""
