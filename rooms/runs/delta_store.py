"""The deltas of unfinished answers, stored for clients that join or reconnect during an answer.

Best effort: a lost delta is repaired by `message.completed`, which carries the whole text. A delta
is stored before it is published, so a client that subscribes first and reads second misses none.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final, Protocol
from uuid import UUID

import hiredis
import redis
import structlog
from django.conf import settings

from rooms import redis_clients
from rooms.fanout.redis_connection import RequestConnection, open_for
from rooms.redis_clients import (
    FAILURES,
    async_client,
    best_effort,
    best_effort_sync,
    sync_client,
)

log = structlog.get_logger(__name__)

TTL_SECONDS: Final = 600
TTL_RENEWED_EVERY: Final = 32  # deltas; a stream that expires in between is written again
LINGER_SECONDS: Final = 10
CONNECT_SECONDS: Final = 2
CLOSING_ID: Final = f"{2**64 - 1}-1"  # the highest id of a stream: Redis refuses later entries

Entries = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class StoredDeltas:
    """The deltas of one attempt from seq `since` on, oldest first."""

    attempt: int
    since: int
    deltas: list[str]

    @property
    def seq(self) -> int:
        """The seq of the last delta; `since` - 1 if there is none."""
        return self.since + len(self.deltas) - 1


class DeltaStore(Protocol):
    """Stores the deltas of each attempt of an answer until shortly after its end."""

    async def append(
        self, message: UUID, attempt: int, deltas: Sequence[str], stored: int
    ) -> int | None:
        """Store `deltas`, all deltas of an attempt so far; the first `stored` are stored already.

        Returns the number of stored deltas; 0 if it is unknown, so that the next call passes all
        deltas again. Returns None if the deltas must not be published: the answer is closed, or a
        newer attempt has begun.
        """

    async def read(self, message: UUID, attempt: int, since: int = 0) -> StoredDeltas | None:
        """Return the deltas of an attempt from seq `since` on; None if the store is unavailable."""

    async def expire(self, message: UUID, attempt: int) -> None:
        """Drop the deltas of an ended attempt after LINGER_SECONDS; a join may read them now."""

    def close(self, message: UUID, attempt: int) -> str:
        """Accept no more deltas of an attempt; return its text, empty if the store is unavailable.

        Blocking; call it from a worker thread. The text is what was published, because a delta is
        stored before it is published.
        """

    def purge(self, message: UUID, attempt: int) -> None:
        """Close an attempt and delete its deltas. Blocking; call it from a worker thread."""


@dataclass(slots=True)
class _Answer:
    attempt: int
    deltas: list[str] = field(default_factory=list)
    closed: bool = False


class MemoryDeltaStore:
    """The store of the embedded profile, where one process serves sockets and runs."""

    def __init__(self) -> None:
        self._answers: dict[UUID, _Answer] = {}
        self._lock = threading.Lock()

    async def append(
        self, message: UUID, attempt: int, deltas: Sequence[str], stored: int
    ) -> int | None:
        with self._lock:
            answer = self._answer(message, attempt)
            if answer.attempt != attempt or answer.closed:
                return None
            answer.deltas.extend(deltas[len(answer.deltas) :])
            return len(deltas)

    def _answer(self, message: UUID, attempt: int) -> _Answer:
        """Return the newest attempt of an answer, which is `attempt` or a later attempt."""
        answer = self._answers.get(message)
        if answer is None or answer.attempt < attempt:
            answer = self._answers[message] = _Answer(attempt)
        return answer

    async def read(self, message: UUID, attempt: int, since: int = 0) -> StoredDeltas | None:
        answer = self._answers.get(message)
        if answer is None or answer.attempt != attempt:
            return StoredDeltas(attempt, since, [])
        return StoredDeltas(attempt, since, answer.deltas[since:])

    async def expire(self, message: UUID, attempt: int) -> None:
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._drop, message, attempt)

    def _drop(self, message: UUID, attempt: int) -> None:
        answer = self._answers.get(message)
        if answer is not None and answer.attempt == attempt:
            del self._answers[message]

    def close(self, message: UUID, attempt: int) -> str:
        with self._lock:
            answer = self._answer(message, attempt)
            if answer.attempt != attempt:
                return ""
            answer.closed = True
            return "".join(answer.deltas)

    def purge(self, message: UUID, attempt: int) -> None:
        with self._lock:
            answer = self._answers.get(message)
            if answer is not None and answer.attempt == attempt:
                answer.closed, answer.deltas = True, []


class RedisDeltaStore:
    """One Redis stream per attempt. An entry's id is `<seq>-1`, so no delta is stored twice.

    `append` has a connection of its own: through redis-py's pool it would take ten times the CPU.
    """

    def __init__(self) -> None:
        self._connection: RequestConnection | None = None
        self._connecting = asyncio.Lock()

    async def append(
        self, message: UUID, attempt: int, deltas: Sequence[str], stored: int
    ) -> int | None:
        if redis_clients.is_backed_off():
            return 0  # the delta is published without being stored
        key = _key(message, attempt)
        try:
            if not await self._add(key, deltas, stored):
                await self._add(key, deltas, 0)  # Redis has lost the stream: write all deltas again
        except _Closed:
            return None
        except FAILURES as error:
            redis_clients.back_off(error)
            return 0
        return len(deltas)

    async def read(self, message: UUID, attempt: int, since: int = 0) -> StoredDeltas | None:
        async def read() -> Entries | None:
            entries: Entries = await async_client().xrange(_key(message, attempt), f"{since}-0")
            return entries

        entries = await best_effort(read, None)
        if entries is None:
            return None
        deltas: list[str] = []
        for entry, fields in entries:
            if int(entry.split(b"-")[0]) != since + len(deltas):
                break  # a gap: a delta was not stored, so the deltas behind it cannot be used
            deltas.append(fields[b"t"].decode())
        return StoredDeltas(attempt, since, deltas)

    async def expire(self, message: UUID, attempt: int) -> None:
        await best_effort(
            lambda: async_client().expire(_key(message, attempt), LINGER_SECONDS), None
        )

    def close(self, message: UUID, attempt: int) -> str:
        def close() -> Entries | None:
            key = _key(message, attempt)
            with sync_client().pipeline(transaction=False) as pipe:
                pipe.xadd(key, {"closed": ""}, id=CLOSING_ID)
                pipe.expire(key, TTL_SECONDS)
                pipe.xrange(key)
                *_, entries = pipe.execute(raise_on_error=False)
            if isinstance(entries, redis.RedisError):
                raise entries
            stored: Entries = entries
            return stored

        entries = best_effort_sync(close, None)
        if entries is None:
            log.warning("delta_store.unreadable", message=str(message))
            return ""
        return "".join(fields[b"t"].decode() for _, fields in entries if b"t" in fields)

    def purge(self, message: UUID, attempt: int) -> None:
        key = _key(message, attempt)
        try:
            with sync_client().pipeline(transaction=True) as pipe:
                pipe.delete(key)
                pipe.xadd(key, {"closed": ""}, id=CLOSING_ID)
                pipe.expire(key, TTL_SECONDS)
                pipe.execute()
        except FAILURES as error:  # the stream expires after TTL_SECONDS at most
            log.warning("delta_store.not_purged", message=str(message), error=type(error).__name__)

    async def aclose(self) -> None:
        """Close the connection of `append`."""
        if self._connection is not None:
            await self._connection.close()

    async def _add(self, key: str, deltas: Sequence[str], since: int) -> bool:
        """Add the deltas from seq `since` on to a stream; False if the stream does not exist.

        Raises _Closed if the stream is closed.
        """
        mode = ["NOMKSTREAM"] if since > 0 else []
        added = [
            ("XADD", key, *mode, f"{seq}-1", "t", deltas[seq]) for seq in range(since, len(deltas))
        ]
        is_due = since == 0 or len(deltas) % TTL_RENEWED_EVERY == 0
        renewed = [("EXPIRE", key, str(TTL_SECONDS))] if is_due else []
        last = (await self._request(*added, *renewed))[len(added) - 1]
        if isinstance(last, hiredis.ReplyError) and "equal or smaller" in str(last):
            # Either an earlier request stored the delta and its response was lost with the
            # connection, or the stream is closed. The stream is empty if it was purged since.
            (newest,) = await self._request(("XREVRANGE", key, "+", "-", "COUNT", "1"))
            _raise_refusal(newest)
            if newest and b"t" not in newest[0][1]:  # [[id, [field, value]]]
                raise _Closed
            return True
        _raise_refusal(last)
        return last is not None

    async def _request(self, *commands: tuple[str, ...]) -> list[Any]:
        """Send commands; once more on a new connection if Redis has restarted since the last."""
        try:
            return await (await self._connected()).request(*commands)
        except ConnectionResetError:
            return await (await self._connected()).request(*commands)

    async def _connected(self) -> RequestConnection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                make = partial(RequestConnection, on_lost=lambda: None)
                pool = async_client().connection_pool
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._connection = await open_for(pool.make_connection(), make)
            return self._connection


def _raise_refusal(reply: Any) -> None:
    if isinstance(reply, hiredis.ReplyError):
        raise redis.ResponseError(str(reply))


class _Closed(Exception):
    """The stream is closed: it accepts no more deltas."""


def _key(message: UUID, attempt: int) -> str:
    return f"maru:replay:{message.hex}:{attempt}"


@cache
def delta_store() -> DeltaStore:
    """Return the delta store of this process."""
    return MemoryDeltaStore() if settings.EMBEDDED else RedisDeltaStore()
