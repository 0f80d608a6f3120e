"""Tests of rooms.pages."""
