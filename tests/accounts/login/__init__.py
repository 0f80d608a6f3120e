"""Tests of accounts.login."""
