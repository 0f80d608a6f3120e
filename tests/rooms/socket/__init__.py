"""Tests of rooms.socket."""
