"""The provider's stream of events, bounded, and mended where CrewAI misreads it.

CrewAI takes an event that carries `usage` for one that carries nothing else. Several providers
send usage along with the last finish reason, some with every piece of text: both would be lost.
And it starts the call anew, text and all, when an error inside the stream speaks of rate limits.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import msgspec

from agents.answers import AnswerFailed
from agents.engine import failures
from agents.engine.failures import Halt

LINE_LIMIT: Final = 1024 * 1024
TOTAL_LIMIT: Final = 256 * 1024 * 1024
"""Far above any answer: it bounds what is never shown, such as the arguments of a tool."""
AT_ONCE: Final = 16
"""Lines between two turns of the loop: a provider in a hurry must not hold up the other runs."""


class EventStream(httpx.AsyncByteStream):
    """The same lines, but usage in an event of its own, and errors and floods as a Halt."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest, total = b"", 0
        async for data in self._stream:
            total += len(data)
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LINE_LIMIT or total > TOTAL_LIMIT:
                raise Halt(AnswerFailed("provider_garbled"))
            for start in range(0, len(lines), AT_ONCE):
                yield b"".join(_mended(line) + b"\n" for line in lines[start : start + AT_ONCE])
                await asyncio.sleep(0)
        if rest:
            yield rest

    async def aclose(self) -> None:
        await self._stream.aclose()


def _mended(line: bytes) -> bytes:
    """Two events for one that carries both choices and usage; any other line as it is."""
    if not line.startswith(b"data:") or (b'"usage"' not in line and b'"error"' not in line):
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
