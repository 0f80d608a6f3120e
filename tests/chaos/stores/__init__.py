"""Faults of PostgreSQL, Redis and of the process between commit and publish."""
