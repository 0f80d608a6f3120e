"""How fast one socket may ask: a token bucket, and an end for whoever does not heed it."""

import math
import time
from collections.abc import Callable
from typing import Final

BURST: Final = 100
PER_SECOND: Final = 20
PATIENCE: Final = 200


class Bucket:
    """`BURST` commands at once, then `PER_SECOND`.

    Each refused one counts, until the socket has been within its rate again.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tokens = float(BURST)
        self._refused = 0
        self._at = now()

    @property
    def is_flood(self) -> bool:
        """Whether so many were refused that nobody can be waiting for the answers."""
        return self._refused > PATIENCE

    def take(self) -> int | None:
        """Return None if one more command may pass, else after how many seconds the next may."""
        now = self._now()
        self._tokens = min(BURST, self._tokens + (now - self._at) * PER_SECOND)
        self._at = now
        if self._tokens < 1:
            self._refused += 1
            return math.ceil((1 - self._tokens) / PER_SECOND)
        self._tokens -= 1
        if self._tokens > BURST / 2:
            self._refused = 0
        return None
