"""Tests of all pages and endpoints: permission matrix, audit and rate limits."""
