"""The rate limit of one connection: a token bucket, and a limit on refused commands."""

import math
import time
from collections.abc import Callable
from typing import Final

BURST: Final = 100
PER_SECOND: Final = 20
MAX_REFUSED: Final = 200


class TokenBucket:
    """Allows `BURST` commands at once, then `PER_SECOND`.

    Refused commands are counted until the bucket is half full again.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tokens = float(BURST)
        self._refused = 0
        self._updated_at = now()

    @property
    def is_flooded(self) -> bool:
        """True if more than MAX_REFUSED commands were refused: the client ignores the refusals."""
        return self._refused > MAX_REFUSED

    def take(self) -> int | None:
        """Take a token and return None; if there is none, return the seconds until the next."""
        now = self._now()
        self._tokens = min(BURST, self._tokens + (now - self._updated_at) * PER_SECOND)
        self._updated_at = now
        if self._tokens < 1:
            self._refused += 1
            return math.ceil((1 - self._tokens) / PER_SECOND)
        self._tokens -= 1
        if self._tokens > BURST / 2:
            self._refused = 0
        return None
