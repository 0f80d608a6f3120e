"""Tests of agents.services."""
