"""Tests of rooms.runs.crews."""
