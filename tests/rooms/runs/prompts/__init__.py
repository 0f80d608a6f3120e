"""Tests of what models get of rooms, and of what is kept of it."""
