"""Tests of several processes on real services."""
