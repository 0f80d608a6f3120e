"""Every number of seconds that a test waits or sets, scaled with the speed of this machine.

A test waits for an event, and `DEADLINE` only ends a test that is broken. A limit of the product
that a test shortens is `scaled(seconds)`: a slow machine needs it longer by the same factor.
"""

import os
from time import perf_counter

VARIABLE = "TEST_SLOWNESS"
"""The factor, if it is known. The first process measures it; the processes it starts inherit it."""

SAMPLE_SECONDS = 0.5
REFERENCE_SECONDS = 0.010
"""The time of one `_loop` on an idle core of the machine on which the limits were chosen."""

MOST = 20.0


def _loop() -> int:
    value = 0
    for number in range(200_000):
        value = (value * 31 + number) & 0xFFFFFFFF
    return value


def _measure() -> float:
    """Return how many times slower this machine is than the reference: from 1 to `MOST`.

    The clock is the wall clock: a core that is shared with other processes counts as slow.
    """
    began = perf_counter()
    loops = 0
    while perf_counter() - began < SAMPLE_SECONDS:
        _loop()
        loops += 1
    return min(max((perf_counter() - began) / (loops * REFERENCE_SECONDS), 1.0), MOST)


def _slowness() -> float:
    known = os.environ.setdefault(VARIABLE, "") or f"{_measure():.2f}"
    os.environ[VARIABLE] = known
    return float(known)


SLOWNESS = _slowness()

DEADLINE = min(60.0 * SLOWNESS, 180.0)
"""Seconds after which a wait for an event fails. Only a test that is broken waits as long.

The maximum keeps a run with several broken tests below the time that a slow machine has for it.
"""


def scaled(seconds: float) -> float:
    """Return `seconds` of the reference machine in seconds of this machine."""
    return seconds * SLOWNESS


REVOCATION = scaled(5)
"""Seconds within which revoked access must close its connections."""
