"""Measurements of speed and size, a tool: `make bench`, or `python -m tests.bench`. See README.md.

It never fails on a slow figure: figures depend on the machine, which the table names.
"""
