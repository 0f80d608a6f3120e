"""Tests of agents.egress."""
