"""Tests of accounts.api."""
