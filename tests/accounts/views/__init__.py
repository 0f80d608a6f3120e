"""Tests of accounts.views."""
