"""Rate limits of users, tokens, rooms and teams, shared by all processes.

Each limit is a fixed window that starts with its first use. While Redis is unavailable, no limit is
enforced, so that conversations continue.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Final, NamedTuple
from uuid import UUID

import redis
import structlog
from django.conf import settings

from accounts.errors import RateLimited
from accounts.models import User
from accounts.redis_server import sync_redis

log = structlog.get_logger(__name__)

CALL: Final = "call"
COMMAND: Final = "command"
JOIN: Final = "join"
SEND: Final = "send"
CHECK: Final = "check"
INVITE: Final = "invite"
REACT: Final = "react"
PROFILE: Final = "profile"
DIRECT: Final = "direct"

USER: Final = "user"
TOKEN: Final = "token"  # noqa: S105  # the kind of a counter, not a secret
ROOM: Final = "room"
TEAM: Final = "team"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `max_count` uses in a window of `seconds`, for each user, token, room or team."""

    max_count: int
    seconds: int


LIMITS: Final[Mapping[tuple[str, str], RateLimit]] = {
    # A REST request, or a form that a page sends.
    (CALL, USER): RateLimit(1_200, 60),
    (CALL, TOKEN): RateLimit(600, 60),
    # A command on a socket; the token bucket of the socket is checked first.
    (COMMAND, USER): RateLimit(1_200, 60),
    (COMMAND, TOKEN): RateLimit(1_200, 60),
    # Joining a room, by socket or event stream: after a restart every client joins at once.
    (JOIN, USER): RateLimit(600, 60),
    (JOIN, TOKEN): RateLimit(600, 60),
    (JOIN, ROOM): RateLimit(6_000, 60),
    (JOIN, TEAM): RateLimit(30_000, 60),
    # A message or an edit of a message, by page, REST or socket.
    (SEND, USER): RateLimit(60, 30),
    (SEND, TOKEN): RateLimit(60, 30),
    (SEND, ROOM): RateLimit(600, 30),
    (SEND, TEAM): RateLimit(3_000, 30),
    # A check of a provider connection: it sends a request to a URL that the user typed.
    (CHECK, USER): RateLimit(10, 60),
    (CHECK, TEAM): RateLimit(20, 60),
    # An invitation: it may send a mail to any address, with names that the sender chose.
    (INVITE, USER): RateLimit(30, 3_600),
    (INVITE, TEAM): RateLimit(100, 3_600),
    # A reaction that is added or removed.
    (REACT, USER): RateLimit(60, 30),
    (REACT, TOKEN): RateLimit(60, 30),
    (REACT, ROOM): RateLimit(600, 30),
    (REACT, TEAM): RateLimit(3_000, 30),
    # A change of name or colour: it is published to every room of the user.
    (PROFILE, USER): RateLimit(10, 60),
    # A new direct room: all its members see it, and no user may delete it.
    (DIRECT, USER): RateLimit(60, 3_600),
}

BACK_OFF_SECONDS: Final = 5.0
REDIS_TIMEOUT_SECONDS: Final = 0.25
PRUNE_ABOVE: Final = 50_000

Use = tuple[str, RateLimit]
"""The key of a counter, and its limit."""

_record: ContextVar[list["Standing"] | None] = ContextVar("_record", default=None)


class Count(NamedTuple):
    """The uses of a counter in its window, this one included, and the seconds until it ends."""

    used: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What a use has left of one limit."""

    action: str
    kind: str
    limit: RateLimit
    count: Count

    @property
    def remaining(self) -> int:
        return max(0, self.limit.max_count - self.count.used)

    @property
    def exceeded(self) -> bool:
        return self.count.used > self.limit.max_count

    @property
    def seconds(self) -> float:
        return self.count.seconds


class Counters(ABC):
    @abstractmethod
    def count(self, uses: Sequence[Use]) -> Sequence[Count]:
        """Count each use. Return nothing if the counters are unavailable."""

    def consume(self, uses: Sequence[Use]) -> float | None:
        """Count each use. If a limit is exceeded, return the seconds until none is; else None."""
        counts = zip(uses, self.count(uses), strict=False)
        return max(
            (count.seconds for (_, limit), count in counts if count.used > limit.max_count),
            default=None,
        )


class MemoryCounters(Counters):
    """Counters of the embedded profile, which has one process."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._used: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def count(self, uses: Sequence[Use]) -> Sequence[Count]:
        with self._lock:
            now = self._now()
            if len(self._used) > PRUNE_ABOVE:
                self._used = {k: v for k, v in self._used.items() if v[1] > now}
            return [self._count_one(key, limit, now) for key, limit in uses]

    def _count_one(self, key: str, limit: RateLimit, now: float) -> Count:
        used, window_end = self._used.get(key, (0, 0.0))
        if window_end <= now:
            used, window_end = 0, now + limit.seconds
        self._used[key] = (used + 1, window_end)
        # The difference of two floats may exceed the window by a rounding error.
        return Count(used + 1, min(window_end - now, limit.seconds))


class RedisCounters(Counters):
    """Counters in Redis: one key for each counter, which expires at the end of its window."""

    def __init__(self) -> None:
        names = ("socket_timeout", "socket_connect_timeout")
        timeouts = dict.fromkeys(names, REDIS_TIMEOUT_SECONDS)
        self._redis = sync_redis(**{**settings.REDIS_OPTIONS, **timeouts})
        self._retry_at = float("-inf")

    def count(self, uses: Sequence[Use]) -> Sequence[Count]:
        if time.monotonic() < self._retry_at:
            return []
        try:
            return self._count(uses)
        except (redis.RedisError, OSError) as error:
            self._retry_at = time.monotonic() + BACK_OFF_SECONDS
            log.warning("limits.uncounted", error=type(error).__name__)
            return []

    def _count(self, uses: Sequence[Use]) -> list[Count]:
        with self._redis.pipeline(transaction=True) as pipe:
            for key, limit in uses:
                pipe.set(key, 0, ex=limit.seconds, nx=True)
                pipe.incr(key)
                pipe.pttl(key)
            replies = pipe.execute()
        counts = zip(replies[1::3], replies[2::3], strict=True)
        return [Count(used, milliseconds / 1000) for used, milliseconds in counts]


@cache
def get_counters() -> Counters:
    """Return the counters of this process."""
    return MemoryCounters() if settings.EMBEDDED else RedisCounters()


def consume(
    action: str, user: User, *, room_id: UUID | None = None, team_id: UUID | None = None
) -> None:
    """Count one use of `action` by `user`. Raises RateLimited if a limit is exceeded.

    Call this after the permission check: a stranger must not use up the limits of a room.
    """
    (error,) = consume_many(action, [(user, room_id, team_id)])
    if error is not None:
        raise error


def consume_many(
    action: str, uses: Sequence[tuple[User, UUID | None, UUID | None]]
) -> list[RateLimited | None]:
    """Count the uses of `action` by user, room and team, with one request to the counters.

    Return what `consume` would raise for each.
    """
    if not settings.RATE_LIMITS or not uses:
        return [None] * len(uses)
    limited: list[tuple[int, str, Use]] = []
    for number, (user, room_id, team_id) in enumerate(uses):
        ids = {USER: user.pk, TOKEN: user.scope.token_id, ROOM: room_id, TEAM: team_id}
        limited += [
            (number, kind, (f"maru:limit:{action}:{kind}:{pk.hex}", LIMITS[action, kind]))
            for kind, pk in ids.items()
            if pk is not None and (action, kind) in LIMITS
        ]
    waits: list[float | None] = [None] * len(uses)
    counts = get_counters().count([use for _, _, use in limited])
    for (number, kind, (_key, limit)), count in zip(limited, counts, strict=False):
        standing = Standing(action, kind, limit, count)
        if (record := _record.get()) is not None:
            record.append(standing)
        if standing.exceeded:
            waits[number] = max(waits[number] or 0.0, standing.seconds)
    return [None if wait is None else RateLimited(retry_after=max(1, ceil(wait))) for wait in waits]


@contextmanager
def recorded() -> Iterator[list[Standing]]:
    """Return the list to which `consume` adds what each use has left, while the context is open."""
    record: list[Standing] = []
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)
