"""Tests of agents.engine."""
