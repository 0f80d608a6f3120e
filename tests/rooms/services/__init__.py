"""Tests of rooms.services."""
