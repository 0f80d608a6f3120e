"""Traces of one message and one answer through the processes."""
