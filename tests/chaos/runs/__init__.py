"""Faults of workers and runs."""
