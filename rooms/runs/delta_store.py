"""The deltas of unfinished answers, kept for whoever joins or comes back in mid-answer.

Best effort: what is lost here is made good by `message.completed`, which carries the whole text.
A delta is kept before it is published, so whoever listens first and reads second misses none.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Protocol
from uuid import UUID

import redis
import structlog
from django.conf import settings

from rooms.redis_store import (
    FAILURES,
    async_client,
    best_effort,
    best_effort_sync,
    sync_client,
)

log = structlog.get_logger(__name__)

KEPT_SECONDS: Final = 600
EXPIRY_EVERY: Final = 32  # deltas; an answer so slow that it expires meanwhile is kept anew
LINGER_SECONDS: Final = 10
SEAL: Final = f"{2**64 - 1}-1"  # the last id that a stream can have: nothing fits behind it

Entries = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class Held:
    """The deltas of one attempt from seq `since` on, oldest first."""

    attempt: int
    since: int
    deltas: list[str]

    @property
    def seq(self) -> int:
        """The seq of the last delta; `since` - 1 if there is none."""
        return self.since + len(self.deltas) - 1


class Replay(Protocol):
    async def append(
        self, message: UUID, attempt: int, deltas: Sequence[str], kept: int
    ) -> int | None:
        """Keep the deltas that an attempt has so far, of which so many are kept already.

        Returns how many are kept now: 0 where that is not known, so that all are given again. None
        where they must not be shown any more: sealed, or an older attempt's, which are forgotten.
        """

    async def read(self, message: UUID, attempt: int, since: int = 0) -> Held | None:
        """Return the deltas of an attempt from seq `since` on; None where that is not known now."""

    async def forget(self, message: UUID, attempt: int) -> None:
        """Let go of an answer that has ended, soon: somebody may be joining just now."""

    def seal(self, message: UUID, attempt: int) -> str:
        """Take in no more of an answer and return what was shown of it, empty if that is unknown.

        To be called from any thread, by whoever stops an answer: what is kept is what was shown.
        """

    def erase(self, message: UUID, attempt: int) -> None:
        """Take in no more of an answer and keep nothing of it; from any thread, like `seal`."""


@dataclass(slots=True)
class _Answer:
    attempt: int
    deltas: list[str] = field(default_factory=list)
    sealed: bool = False


class MemoryReplay:
    """For the embedded profile: one process, which also runs the answers."""

    def __init__(self) -> None:
        self._answers: dict[UUID, _Answer] = {}
        self._lock = threading.Lock()

    async def append(
        self, message: UUID, attempt: int, deltas: Sequence[str], kept: int
    ) -> int | None:
        with self._lock:
            answer = self._of_attempt(message, attempt)
            if answer.attempt != attempt or answer.sealed:
                return None
            answer.deltas.extend(deltas[len(answer.deltas) :])
            return len(deltas)

    def _of_attempt(self, message: UUID, attempt: int) -> _Answer:
        answer = self._answers.get(message)
        if answer is None or answer.attempt < attempt:
            answer = self._answers[message] = _Answer(attempt)
        return answer

    async def read(self, message: UUID, attempt: int, since: int = 0) -> Held | None:
        answer = self._answers.get(message)
        if answer is None or answer.attempt != attempt:
            return Held(attempt, since, [])
        return Held(attempt, since, answer.deltas[since:])

    async def forget(self, message: UUID, attempt: int) -> None:
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._drop, message, attempt)

    def _drop(self, message: UUID, attempt: int) -> None:
        answer = self._answers.get(message)
        if answer is not None and answer.attempt == attempt:
            del self._answers[message]

    def seal(self, message: UUID, attempt: int) -> str:
        with self._lock:
            answer = self._of_attempt(message, attempt)
            if answer.attempt != attempt:
                return ""
            answer.sealed = True
            return "".join(answer.deltas)

    def erase(self, message: UUID, attempt: int) -> None:
        with self._lock:
            answer = self._answers.get(message)
            if answer is not None and answer.attempt == attempt:
                answer.sealed, answer.deltas = True, []


class RedisReplay:
    """One stream for each attempt; the id of an entry is `<seq>-1`, so none is kept twice."""

    async def append(
        self, message: UUID, attempt: int, deltas: Sequence[str], kept: int
    ) -> int | None:
        async def keep() -> int | None:
            key = _key(message, attempt)
            try:
                if not await _add(key, deltas, kept):
                    await _add(key, deltas, 0)  # a Redis that has forgotten is told all of it again
            except _SealedAnswer:
                return None
            return len(deltas)

        return await best_effort(keep, 0)  # shown, where Redis is away

    async def read(self, message: UUID, attempt: int, since: int = 0) -> Held | None:
        async def read() -> Entries | None:
            found: Entries = await async_client().xrange(_key(message, attempt), f"{since}-0")
            return found

        entries = await best_effort(read, None)
        if entries is None:
            return None
        deltas: list[str] = []
        for entry, fields in entries:
            if int(entry.split(b"-")[0]) != since + len(deltas):
                break  # a delta was not kept: what comes after it cannot be shown
            deltas.append(fields[b"t"].decode())
        return Held(attempt, since, deltas)

    async def forget(self, message: UUID, attempt: int) -> None:
        await best_effort(
            lambda: async_client().expire(_key(message, attempt), LINGER_SECONDS), None
        )

    def seal(self, message: UUID, attempt: int) -> str:
        def seal() -> Entries | None:
            key = _key(message, attempt)
            with sync_client().pipeline(transaction=False) as pipe:
                pipe.xadd(key, {"sealed": ""}, id=SEAL)
                pipe.expire(key, KEPT_SECONDS)
                pipe.xrange(key)
                *_, entries = pipe.execute(raise_on_error=False)
            if isinstance(entries, redis.RedisError):
                raise entries
            found: Entries = entries
            return found

        entries = best_effort_sync(seal, None)
        if entries is None:
            log.warning("replay.unreadable", message=str(message))
            return ""
        return "".join(fields[b"t"].decode() for _, fields in entries if b"t" in fields)

    def erase(self, message: UUID, attempt: int) -> None:
        key = _key(message, attempt)
        try:
            with sync_client().pipeline(transaction=True) as pipe:
                pipe.delete(key)
                pipe.xadd(key, {"sealed": ""}, id=SEAL)
                pipe.expire(key, KEPT_SECONDS)
                pipe.execute()
        except FAILURES as error:  # it forgets by itself before long
            log.warning("replay.unerased", message=str(message), error=type(error).__name__)


class _SealedAnswer(Exception):
    """Nothing fits behind the seal."""


async def _add(key: str, deltas: Sequence[str], since: int) -> bool:
    """Add deltas to their stream; False where those before `since` are not there any more."""
    async with async_client().pipeline(transaction=False) as pipe:
        for seq in range(since, len(deltas)):
            pipe.xadd(key, {"t": deltas[seq]}, id=f"{seq}-1", nomkstream=since > 0)
        if since == 0 or len(deltas) % EXPIRY_EVERY == 0:
            pipe.expire(key, KEPT_SECONDS)
        added = (await pipe.execute(raise_on_error=False))[len(deltas) - since - 1]
    if isinstance(added, redis.ResponseError) and "equal or smaller" in str(added):
        await _check_seal(key)
        return True  # it is there already: nobody knows what came of a broken connection
    if isinstance(added, redis.RedisError):
        raise added
    return added is not None


async def _check_seal(key: str) -> None:
    for _, last in await async_client().xrevrange(
        key, count=1
    ):  # none, where it was erased meanwhile
        if b"t" not in last:
            raise _SealedAnswer


def _key(message: UUID, attempt: int) -> str:
    return f"maru:replay:{message.hex}:{attempt}"


@cache
def replay() -> Replay:
    """Return this process's replay."""
    return MemoryReplay() if settings.EMBEDDED else RedisReplay()
