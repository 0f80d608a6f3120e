"""How much anybody may do in a while: one table of rules, counted for all processes together.

A rule counts from its first use for so many seconds, then begins anew. Where Redis is away nothing
is counted: a limit must not be what stops a conversation.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Final, Protocol
from uuid import UUID

import redis
import structlog
from django.conf import settings

from accounts.errors import RateLimited
from accounts.models import User

log = structlog.get_logger(__name__)

CALL: Final = "call"
COMMAND: Final = "command"
JOIN: Final = "join"
SEND: Final = "send"
CHECK: Final = "check"
INVITE: Final = "invite"
REACT: Final = "react"
PROFILE: Final = "profile"

USER: Final = "user"
TOKEN: Final = "token"  # noqa: S105 # a word for what is counted, no secret
ROOM: Final = "room"
TEAM: Final = "team"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `most` times in `seconds`, for each user, token, room or team by itself."""

    most: int
    seconds: int


LIMITS: Final[Mapping[tuple[str, str], RateLimit]] = {
    # A call of the REST interface, or a form that a page sends.
    (CALL, USER): RateLimit(1_200, 60),
    (CALL, TOKEN): RateLimit(600, 60),
    # A command on a socket, whichever; the bucket of each socket comes before it.
    (COMMAND, USER): RateLimit(1_200, 60),
    (COMMAND, TOKEN): RateLimit(1_200, 60),
    # Joining a room, by socket or stream: a restart has everybody join at once.
    (JOIN, USER): RateLimit(600, 60),
    (JOIN, TOKEN): RateLimit(600, 60),
    (JOIN, ROOM): RateLimit(6_000, 60),
    (JOIN, TEAM): RateLimit(30_000, 60),
    # A message, or the edit of one, from wherever.
    (SEND, USER): RateLimit(60, 30),
    (SEND, TOKEN): RateLimit(60, 30),
    (SEND, ROOM): RateLimit(600, 30),
    (SEND, TEAM): RateLimit(3_000, 30),
    # A look at a provider, which goes out to wherever somebody has typed.
    (CHECK, USER): RateLimit(10, 60),
    (CHECK, TEAM): RateLimit(20, 60),
    # An invitation: it may be a mail to anybody, with words of the sender's in it.
    (INVITE, USER): RateLimit(30, 3_600),
    (INVITE, TEAM): RateLimit(100, 3_600),
    # A reaction, put or taken back.
    (REACT, USER): RateLimit(60, 30),
    (REACT, TOKEN): RateLimit(60, 30),
    (REACT, ROOM): RateLimit(600, 30),
    (REACT, TEAM): RateLimit(3_000, 30),
    # A new name or colour: each room of the person is told.
    (PROFILE, USER): RateLimit(10, 60),
}

PAUSE_SECONDS: Final = 5.0
REDIS_TIMEOUT_SECONDS: Final = 0.25
PRUNE_ABOVE: Final = 50_000

Count = tuple[str, RateLimit]


class Counters(Protocol):
    def consume(self, counts: Sequence[Count]) -> float | None:
        """Count one more of each; return None, or in how many seconds all of them would pass."""


class MemoryCounters:
    """For the embedded profile, whose one process is all that there is."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._used: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def consume(self, counts: Sequence[Count]) -> float | None:
        with self._lock:
            now = self._now()
            if len(self._used) > PRUNE_ABOVE:
                self._used = {k: v for k, v in self._used.items() if v[1] > now}
            return max((w for c in counts if (w := self._wait(*c, now)) is not None), default=None)

    def _wait(self, key: str, rule: RateLimit, now: float) -> float | None:
        used, until = self._used.get(key, (0, 0.0))
        if until <= now:
            used, until = 0, now + rule.seconds
        self._used[key] = (used + 1, until)
        return until - now if used >= rule.most else None


class RedisCounters:
    """One counter to a key, which Redis forgets at the end of its time."""

    def __init__(self, url: str) -> None:
        names = ("socket_timeout", "socket_connect_timeout")
        timeouts = dict.fromkeys(names, REDIS_TIMEOUT_SECONDS)
        self._redis = redis.Redis.from_url(url, **{**settings.REDIS_OPTIONS, **timeouts})
        self._away_until = float("-inf")

    def consume(self, counts: Sequence[Count]) -> float | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            used = self._count(counts)
        except (redis.RedisError, OSError) as error:
            self._away_until = time.monotonic() + PAUSE_SECONDS
            log.warning("limits.uncounted", error=type(error).__name__)
            return None
        over = [ms for (_, rule), (n, ms) in zip(counts, used, strict=True) if n > rule.most]
        return max(over) / 1000 if over else None

    def _count(self, counts: Sequence[Count]) -> list[tuple[int, int]]:
        """Return of each key how often it was used, and for how many milliseconds that counts."""
        with self._redis.pipeline(transaction=True) as pipe:
            for key, rule in counts:
                pipe.set(key, 0, ex=rule.seconds, nx=True)
                pipe.incr(key)
                pipe.pttl(key)
            said = pipe.execute()
        return list(zip(said[1::3], said[2::3], strict=True))


@cache
def get_counters() -> Counters:
    """Return what this process counts with."""
    return MemoryCounters() if settings.EMBEDDED else RedisCounters(settings.REDIS_URL)


def consume(
    action: str, user: User, *, room_id: UUID | None = None, team_id: UUID | None = None
) -> None:
    """Count that `user` does this once more; raises RateLimited where it is too often.

    To be called behind the gate: a stranger must not use up what a room may do.
    """
    if not settings.RATE_LIMITS:
        return
    whose = {USER: user.pk, TOKEN: user.scope.token_id, ROOM: room_id, TEAM: team_id}
    counts = [
        (f"maru:limit:{action}:{kind}:{one.hex}", LIMITS[action, kind])
        for kind, one in whose.items()
        if one is not None and (action, kind) in LIMITS
    ]
    seconds = get_counters().consume(counts)
    if seconds is not None:
        raise RateLimited(retry_after=max(1, ceil(seconds)))
