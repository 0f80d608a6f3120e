"""Tests of maru."""
