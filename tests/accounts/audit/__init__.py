"""Tests of accounts.audit."""
