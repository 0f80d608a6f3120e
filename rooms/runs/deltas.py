"""Turns the chunks of a model into deltas: fewer frames, none held back for long."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from agents.engine_types import pace
from rooms.fanout import publisher
from rooms.protocol.events import MessageDelta, encode
from rooms.runs.delta_store import replay
from rooms.runs.lifecycle import Job

log = structlog.get_logger(__name__)

LARGE: Final = 2_048


class Deltas:
    """The outgoing text of one attempt: the first text at once, then at the pace of answers.

    `is_ours` says whether the run's lease is good: what a worker without it has is not sent.
    """

    def __init__(self, job: Job, is_ours: Callable[[], Awaitable[bool]]) -> None:
        self._job = job
        self._is_ours = is_ours
        self._waiting: list[str] = []
        self._sent: list[str] = []
        self._kept = 0
        self._last = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._order = asyncio.Lock()

    @property
    def text(self) -> str:
        """What has been shown so far."""
        return "".join(self._sent)

    async def add(self, text: str) -> None:
        """Take text in; returns once it is sent or sure to be."""
        self._waiting.append(text)
        loop = asyncio.get_running_loop()
        now = loop.time()
        interval = pace(len(self._sent))
        if now - self._last >= interval or sum(map(len, self._waiting)) >= LARGE:
            await self.flush()
        elif self._timer is None:
            self._timer = loop.call_at(self._last + interval, self._flush_now)

    async def flush(self) -> None:
        """Send what waits, now."""
        async with self._order:
            text, self._waiting = "".join(self._waiting), []
            if not text:
                return
            self._last = asyncio.get_running_loop().time()
            try:
                await self._send(text)
            except Exception:  # not lost: it goes with what comes next
                self._waiting.insert(0, text)
                raise

    async def close(self) -> None:
        """Send the rest; nothing more is taken in."""
        if self._timer is not None:
            self._timer.cancel()
        await self.flush()

    def discard(self) -> None:
        """Send nothing more, not even the rest: the answer was stopped or is somebody else's."""
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            self._flushing.cancel()
        self._waiting = []

    def _flush_now(self) -> None:
        self._timer = None
        self._flushing = asyncio.create_task(self.flush())
        self._flushing.add_done_callback(_report)

    async def _send(self, text: str) -> None:
        job, seq = self._job, len(self._sent)
        if not await self._is_ours() or not await self._keep(text):
            return  # stopped or taken over: the text that is kept ends before this
        delta = MessageDelta(
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
                frame=encode(delta),
            )
        )

    async def _keep(self, text: str) -> bool:
        """Add a delta to the replay, and to what was sent; False where it must not be sent."""
        self._sent.append(text)
        kept = None
        try:
            kept = await replay().append(
                self._job.message, self._job.attempt, self._sent, self._kept
            )
        finally:
            if kept is None:
                self._sent.pop()
        if kept is None:
            return False
        self._kept = kept
        return True


def _report(flushing: asyncio.Task[None]) -> None:
    if not flushing.cancelled() and (error := flushing.exception()) is not None:
        log.error("deltas.unsent", exc_info=error)
