"""Tests of rooms.protocol."""
