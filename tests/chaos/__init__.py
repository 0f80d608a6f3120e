"""Faults, each with its counts: the tests of tests/cluster run them small, `make chaos` large."""
