"""Tests of accounts.database."""
