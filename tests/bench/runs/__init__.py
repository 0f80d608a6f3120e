"""Runs in a production cluster, and what a worker adds to the provider's library."""
