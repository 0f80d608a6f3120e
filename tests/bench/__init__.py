"""How fast and how large Maru is, beside what we promise. `make bench`, or `python -m tests.bench`.

It measures and never asserts: a time depends on the machine, and the table names the machine.
"""
