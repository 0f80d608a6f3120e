"""The provider's stream of events, bounded, and at the pace at which answers are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import httpx

from agents.engine.failures import Halt
from agents.engine.sse_merge import Lines
from agents.engine_types import AnswerFailed, pace

EVENT_LIMIT: Final = 1024 * 1024
EVENT_LINES: Final = 1_000
"""The SDK adds the lines of an event to each other one by one, and copies all of it each time."""
TOTAL_LIMIT: Final = 32 * 1024 * 1024
"""Far above any answer: it bounds what is never shown, such as what a model thinks."""
PLENTY: Final = 64 * 1024
"""So many bytes do not gather: a provider in a hurry is taken at its own pace."""
AT_ONCE: Final = 16
"""Lines between two turns of the loop: a provider in a hurry must not hold up the other runs."""


class EventStream(httpx.AsyncByteStream):
    """The events as `Lines` passes them on, and floods as a Halt.

    An event costs the SDK and CrewAI the same whether it carries a word or a line. So the first
    text goes on at once, and then it gathers for as long as it would wait further on anyway.
    """

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, lines: Lines) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._lines = lines
        self._bounds = _Bounds()
        self._begun: list[bytes] = []
        self._waiting: list[bytes] = []
        self._size = 0
        self._come = asyncio.Event()
        self._plenty = asyncio.Event()
        self._taken = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(self._end)
        told = 0
        while not self._reading.done() or self._waiting:
            await self._come.wait()
            lines, added = self._take(), self._lines.added
            for start in range(0, len(lines), AT_ONCE):
                if start:
                    await asyncio.sleep(0)
                for data in self._lines.passed(lines[start : start + AT_ONCE]):
                    yield data
            if self._lines.added > added:
                told += 1
                await self._gather(pace(told))
        await self._reading
        if rest := b"".join(self._begun):
            yield rest

    async def aclose(self) -> None:
        """Read no more, and close the connection."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._stream.aclose()

    async def _read(self) -> None:
        passed = 0
        async for data in self._stream:
            lines = self._ended_by(data)
            self._waiting += lines
            self._size += len(data)
            if self._size > PLENTY:
                self._taken.clear()
                self._plenty.set()
                self._come.set()
                await self._taken.wait()
            elif lines:
                self._come.set()
            passed += 1 + len(lines)
            if passed > AT_ONCE:  # counted over pieces: one packet may hold thousands of them
                passed = 0
                await asyncio.sleep(0)

    def _ended_by(self, data: bytes) -> list[bytes]:
        """Take a piece in and return the lines that are whole now; Halt where it is too much."""
        *lines, rest = data.split(b"\n")
        if lines:  # else nothing is joined: a line may come byte by byte
            lines[0] = b"".join([*self._begun, lines[0]])
            self._begun = []
        self._begun.append(rest)
        self._bounds.count(data, lines, rest)
        return lines

    def _end(self, reading: asyncio.Task[None]) -> None:
        if not reading.cancelled():
            reading.exception()  # looked at: whoever stops listening does not ask for it
        self._plenty.set()
        self._come.set()

    def _take(self) -> list[bytes]:
        lines, self._waiting, self._size = self._waiting, [], 0
        if self._reading is not None and not self._reading.done():
            self._come.clear()
            self._plenty.clear()
        self._taken.set()
        return lines

    async def _gather(self, seconds: float) -> None:
        """Wait for more; not where plenty waits already, or nothing will come any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._plenty.wait()


class _Bounds:
    """How much has come: in all, and of the event that has not ended yet."""

    def __init__(self) -> None:
        self._total = 0
        self._event = 0
        self._lines = 0
        self._begun = 0
        self._last = b""

    def count(self, data: bytes, lines: list[bytes], rest: bytes) -> None:
        """Count a piece, the lines that it has ended and the rest; Halt where it is too much."""
        self._total += len(data)
        for line in lines:
            self._count_line(line)
        self._begun = len(rest) if lines else self._begun + len(rest)
        self._check(self._event + self._begun)

    def _count_line(self, line: bytes) -> None:
        self._event += len(line) + 1
        self._lines += 1
        self._check(self._event)
        # As the SDK sees it: a blank line of one kind behind a line of the other ends nothing.
        if not line or (line == b"\r" and self._last.endswith(b"\r")):
            self._event = self._lines = 0
        self._last = line

    def _check(self, event: int) -> None:
        if event > EVENT_LIMIT or self._lines > EVENT_LINES or self._total > TOTAL_LIMIT:
            raise Halt(AnswerFailed("provider_garbled"))
