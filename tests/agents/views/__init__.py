"""Tests of agents.views."""
