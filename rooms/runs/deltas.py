"""Batches the text that a model streams into deltas, so that fewer frames are sent."""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from agents.engine_types import batch_seconds
from rooms.fanout import publisher
from rooms.protocol.events import MessageDelta, encode
from rooms.runs.delta_store import delta_store
from rooms.runs.lifecycle import Job

log = structlog.get_logger(__name__)

MAX_BUFFERED_CHARACTERS: Final = 2_048


class Deltas:
    """Publishes the text of one attempt: the first text at once, then every `batch_seconds`.

    Runs on the event loop. `owns_run` returns whether the worker still holds the lease of the run;
    text of a worker without the lease is not published.
    """

    def __init__(self, job: Job, owns_run: Callable[[], Awaitable[bool]]) -> None:
        self._job = job
        self._owns_run = owns_run
        self._buffer: list[str] = []
        self._published: list[str] = []
        self._published_at: list[float] = []
        self._stored = 0
        self._flushed_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def text(self) -> str:
        """The text that has been published so far."""
        return "".join(self._published)

    def text_until(self, time: float) -> str:
        """Return the text that was published before `time`, by the clock of the event loop."""
        return "".join(self._published[: bisect_left(self._published_at, time)])

    async def add(self, text: str) -> None:
        """Buffer text; return once it is published or a timer is set to flush it."""
        self._buffer.append(text)
        loop = asyncio.get_running_loop()
        interval = batch_seconds(len(self._published))
        is_due = loop.time() - self._flushed_at >= interval
        if is_due or sum(map(len, self._buffer)) >= MAX_BUFFERED_CHARACTERS:
            await self.flush()
        elif self._timer is None:
            self._timer = loop.call_at(self._flushed_at + interval, self._start_flush)

    async def flush(self) -> None:
        """Store the buffered text as one delta, then publish it.

        The text is dropped if the worker has lost the run or the run has ended. If the delta store
        raises, the next flush retries the text.
        """
        async with self._lock:
            job, seq = self._job, len(self._published)
            text, self._buffer = "".join(self._buffer), []
            if not text:
                return
            self._flushed_at = asyncio.get_running_loop().time()
            self._published.append(text)
            stored = None
            try:
                if await self._owns_run():
                    stored = await delta_store().append(
                        job.message, job.attempt, self._published, self._stored
                    )
            except Exception:  # of any kind: the text stays in the buffer, and the caller sees it
                self._buffer.insert(0, text)
                raise
            finally:
                if stored is None:  # no lease, closed, or the store has raised
                    self._published.pop()
            if stored is None:
                return
            self._stored = stored
            self._published_at.append(asyncio.get_running_loop().time())
            event = MessageDelta(
                room=job.room,
                message=job.message,
                run=job.run,
                attempt=job.attempt,
                seq=seq,
                text=text,
            )
            publisher.publish(
                publisher.Delta(
                    room=job.room,
                    message=job.message,
                    attempt=job.attempt,
                    seq=seq,
                    base=job.base,
                    frame=encode(event),
                )
            )

    async def close(self) -> None:
        """Publish the buffered text. No text may be added afterwards."""
        if self._timer is not None:
            self._timer.cancel()
        await self.flush()

    async def discard(self) -> None:
        """Drop the buffered text: the run has ended, or another worker has claimed it.

        After the return, `text` has only what was published.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._buffer = []
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])

    def _start_flush(self) -> None:
        self._timer = None
        self._flushing = asyncio.create_task(self.flush())
        self._flushing.add_done_callback(_log_failure)


def _log_failure(flushing: asyncio.Task[None]) -> None:
    if not flushing.cancelled() and (error := flushing.exception()) is not None:
        log.error("deltas.flush_failed", exc_info=error)
