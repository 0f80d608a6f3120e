"""Metrics and health of a process: what is exported, and where it is served."""
