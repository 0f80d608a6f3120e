"""Tests of the bundles of static files."""
