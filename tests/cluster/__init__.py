"""Tests of several processes on PostgreSQL and Redis, as in production."""
