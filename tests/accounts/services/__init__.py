"""Tests of accounts.services."""
