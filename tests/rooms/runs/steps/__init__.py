"""Tests of rooms.runs.steps."""
