"""Tests that hold for every way in: permission matrix, audit and rate limits."""
