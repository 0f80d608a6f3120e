"""Tests of maru.server."""
