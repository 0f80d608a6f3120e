"""Runs in several workers: the queue, claims, stops, dead and frozen workers."""
