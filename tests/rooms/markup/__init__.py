"""Tests of rooms.markup."""
