"""Tests of maru.config."""
