"""Tests of metrics and health endpoints."""
