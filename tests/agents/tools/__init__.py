"""Tests of our own tools."""
