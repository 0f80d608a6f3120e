"""The provider's stream of events, bounded, and mended where CrewAI misreads it.

CrewAI takes an event that carries `usage` for one that carries nothing else. Several providers
send usage along with the last finish reason, some with every piece of text: both would be lost.
And it starts the call anew, text and all, when an error inside the stream speaks of rate limits.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import msgspec

from agents.answers import AnswerFailed
from agents.engine import failures
from agents.engine.failures import Halt

EVENT_LIMIT: Final = 1024 * 1024
EVENT_LINES: Final = 1_000
"""The SDK adds the lines of an event to each other one by one, and copies all of it each time."""
TOTAL_LIMIT: Final = 32 * 1024 * 1024
"""Far above any answer: it bounds what is never shown, such as what a model thinks."""
AT_ONCE: Final = 16
"""Lines between two turns of the loop: a provider in a hurry must not hold up the other runs."""

_TELLS: Final = re.compile(rb'"(?:usage|error)"\s*+:\s*+(?!null)')


class EventStream(httpx.AsyncByteStream):
    """The same lines, but usage in an event of its own, and errors and floods as a Halt."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._bounds = _Bounds()
        self._begun: list[bytes] = []

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passed = 0
        async for data in self._stream:
            lines = self._ended_by(data)
            for start in range(0, max(1, len(lines)), AT_ONCE):
                some = lines[start : start + AT_ONCE]
                yield b"".join(_mended(line) + b"\n" for line in some)
                passed += 1 + len(some)
                if passed > AT_ONCE:  # counted over pieces: one packet may hold thousands of them
                    passed = 0
                    await asyncio.sleep(0)
        if rest := b"".join(self._begun):
            yield rest

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _ended_by(self, data: bytes) -> list[bytes]:
        """Take a piece in and return the lines that are whole now; Halt where it is too much."""
        *lines, rest = data.split(b"\n")
        if lines:  # else nothing is joined: a line may come byte by byte
            lines[0] = b"".join([*self._begun, lines[0]])
            self._begun = []
        self._begun.append(rest)
        self._bounds.count(data, lines, rest)
        return lines


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


def _mended(line: bytes) -> bytes:
    """Two events for one that carries both choices and usage; any other line as it is."""
    if not line.startswith(b"data:") or not _TELLS.search(line):
        return line
    try:
        event: Any = msgspec.json.decode(line[5:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line
    if not isinstance(event, dict):
        return line
    if error := event.get("error"):
        raise Halt(failures.of_error(error))
    if not event.get("usage") or not event.get("choices"):
        return line
    text, counted = event | {"usage": None}, event | {"choices": []}
    return b"data: %b\n\ndata: %b" % (msgspec.json.encode(text), msgspec.json.encode(counted))
