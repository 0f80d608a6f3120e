"""Reads the provider's event stream: bounds its size, batches its text, applies backpressure.

The path of one chunk: bytes of the response → lines (`EventStream._read`) → fewer events
(`EventMerger`) → the OpenAI SDK → CrewAI → `stream_sink` → `answer_stream` → `Text`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import httpx

from agents.engine.failures import CallAborted
from agents.engine.sse_merge import EventMerger
from agents.engine_types import AnswerFailed, batch_seconds

MAX_EVENT_BYTES: Final = 1024 * 1024
MAX_EVENT_LINES: Final = 1_000
"""The SDK appends lines to an event one by one and copies the event each time (quadratic time)."""
MAX_STREAM_BYTES: Final = 32 * 1024 * 1024
"""Far above the size of any answer: bounds data that is not shown, for example reasoning."""
HIGH_WATER_BYTES: Final = 64 * 1024
"""High-water mark of the batch: above it, the batch is passed on at once and reading pauses."""
LINES_PER_TURN: Final = 16
"""Lines to process before control is yielded to the other tasks of the event loop."""


class EventStream(httpx.AsyncByteStream):
    """The response body, with text events batched and merged by `EventMerger`.

    The SDK and CrewAI need the same CPU time for an event with one word and for an event with a
    line of text. So the first text is passed on at once. Later text is collected for
    `batch_seconds`, which is also the interval between two flushes of text to the room.

    A stream that exceeds a size limit raises CallAborted with `provider_garbled`.
    """

    def __init__(
        self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, merger: EventMerger
    ) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._merger = merger
        self._sizes = _SizeLimits()
        self._partial: list[bytes] = []  # fragments of the last line, which has not ended yet
        self._lines: list[bytes] = []  # complete lines that have not been passed on
        self._size = 0  # bytes read since lines were last passed on
        self._readable = asyncio.Event()  # there are lines, or the reader has ended
        self._full = asyncio.Event()  # the high-water mark is reached, or the reader has ended
        self._drained = asyncio.Event()  # the lines have been taken
        self._reader: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(self._on_reader_done)
        batches = 0
        while not self._reader.done() or self._lines:
            await self._readable.wait()
            lines, self._lines, self._size = self._lines, [], 0
            if not self._reader.done():
                self._readable.clear()
                self._full.clear()
            self._drained.set()
            text_events = self._merger.text_events
            for start in range(0, len(lines), LINES_PER_TURN):
                if start:
                    await asyncio.sleep(0)
                for data in self._merger.merge(lines[start : start + LINES_PER_TURN]):
                    yield data
            if self._merger.text_events > text_events:
                batches += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(batch_seconds(batches)):
                        await self._full.wait()
        await self._reader
        if rest := b"".join(self._partial):
            yield rest

    async def aclose(self) -> None:
        """Stop reading and close the connection."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
        await self._stream.aclose()

    async def _read(self) -> None:
        """Split the body into lines, until it ends or a limit is exceeded.

        Splits at LF only, while WHATWG HTML §9.2.5 also ends a line at CR or CRLF. A CR stays at
        the end of its line and is passed on, so the SDK sees the original line endings.
        """
        lines_in_turn = 0
        async for data in self._stream:
            *lines, rest = data.split(b"\n")
            if lines:  # join only complete lines: joining at each read would take quadratic time
                lines[0] = b"".join([*self._partial, lines[0]])
                self._partial = []
            self._partial.append(rest)
            self._sizes.count(data, lines, rest)
            self._lines += lines
            self._size += len(data)
            if self._size > HIGH_WATER_BYTES:
                self._drained.clear()
                self._full.set()
                self._readable.set()
                await self._drained.wait()
            elif lines:
                self._readable.set()
            # Counted across reads, because one TCP segment may hold thousands of tiny chunks.
            lines_in_turn += 1 + len(lines)
            if lines_in_turn > LINES_PER_TURN:
                lines_in_turn = 0
                await asyncio.sleep(0)

    def _on_reader_done(self, reader: asyncio.Task[None]) -> None:
        if not reader.cancelled():
            reader.exception()  # retrieved here, because a stopped answer never awaits the reader
        self._full.set()
        self._readable.set()


class _SizeLimits:
    """Counts the bytes of the stream, and the bytes and lines of the current event."""

    def __init__(self) -> None:
        self._stream_bytes = 0
        self._event_bytes = 0
        self._event_lines = 0
        self._partial_bytes = 0
        self._last_line = b""

    def count(self, data: bytes, lines: list[bytes], rest: bytes) -> None:
        """Count one read: `data`, the lines that end in it, and the rest without a line end.

        Raise CallAborted above a limit.
        """
        self._stream_bytes += len(data)
        for line in lines:
            self._event_bytes += len(line) + 1
            self._event_lines += 1
            self._check(self._event_bytes)
            # A blank line ends the event (WHATWG HTML §9.2.6). As in the SDK, a blank line counts
            # only if it has the same line ending as the line before.
            if not line or (line == b"\r" and self._last_line.endswith(b"\r")):
                self._event_bytes = self._event_lines = 0
            self._last_line = line
        self._partial_bytes = len(rest) if lines else self._partial_bytes + len(rest)
        self._check(self._event_bytes + self._partial_bytes)

    def _check(self, event_bytes: int) -> None:
        if (
            event_bytes > MAX_EVENT_BYTES
            or self._event_lines > MAX_EVENT_LINES
            or self._stream_bytes > MAX_STREAM_BYTES
        ):
            raise CallAborted(AnswerFailed("provider_garbled"))
