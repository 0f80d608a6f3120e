"""Tests of maru.web."""
