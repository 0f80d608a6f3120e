"""Tests of rooms.fanout."""
