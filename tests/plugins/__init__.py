"""Pytest plugins of the whole suite."""
