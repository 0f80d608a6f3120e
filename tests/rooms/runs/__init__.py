"""Tests of rooms.runs."""
