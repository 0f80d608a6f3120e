"""Reads the body of a response: bounds its size, batches its text, applies backpressure.

The path of one chunk: bytes → `Decompressor` → `SseParser` → `ChatNormaliser` → `ThinkTagFilter` →
batches of deltas. CrewAI needs the same CPU time for an event with one word and for an event with a
line of text. So the first text is passed on at once. Later text is collected for `batch_seconds`,
which is also the interval between two flushes of text to the room.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

import httpx

from agents.engine.stream.chat import TextDelta
from agents.engine.stream.compression import Decompressor
from agents.engine.stream.reader import AnswerReader, Delta
from agents.engine.stream.think_tags import ThinkTagFilter
from agents.engine_types import AnswerFailed, batch_seconds

GRACE_SECONDS: Final = 1.0
"""How long the body is read after the finish reason: the token counts often come later."""
HIGH_WATER_BYTES: Final = 64 * 1024
"""High-water mark of the batch: above it, the batch is passed on at once and reading pauses."""
PIECE_BYTES: Final = 2048
EVENTS_PER_TURN: Final = 16
"""Events to process before control is yielded to the other tasks of the event loop. A read counts
as one event, and so do 512 bytes, which may hold hundreds of blank lines."""


class AnswerBody:
    """The body of one response, as batches of deltas.

    `reader` has the finish reason and the token counts after the last batch. `collect` is called
    with the seconds for which the source of the stream may collect bytes before it passes them on.
    """

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        encoding: str,
        thoughts: ThinkTagFilter,
        collect: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.reader = AnswerReader(thoughts)
        self._thoughts = thoughts
        self._stream = stream
        self._collect = collect
        self._decompressor = Decompressor(encoding)
        self._deltas: list[Delta] = []  # deltas that have not been passed on
        self._turn = 0  # events since control was last yielded
        self._size = 0  # bytes read since deltas were last passed on
        self._readable = asyncio.Event()  # there are deltas, or the reading task has ended
        self._full = asyncio.Event()  # the high-water mark is reached, or the task has ended
        self._drained = asyncio.Event()  # the deltas have been taken
        self._hold: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None

    async def batches(self) -> AsyncGenerator[list[Delta]]:
        """Yield the deltas, adjacent ones joined.

        Raise the failure or the transport error that ended the body early.
        """
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(self._on_end)
        texts = 0
        while not self._reading.done() or self._deltas:
            await self._readable.wait()
            batch, self._deltas, self._size = self._deltas, [], 0
            if not self._reading.done():
                self._readable.clear()
                self._full.clear()
            self._drained.set()
            if not batch:
                continue
            yield join(batch)
            if any(isinstance(delta, TextDelta) for delta in batch):
                texts += 1
                self._collect(seconds := batch_seconds(texts))
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._full.wait()
        await self._reading

    async def aclose(self) -> None:
        """Stop reading and close the connection."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._stream.aclose()

    async def _read(self) -> None:
        """Read until the answer or the body ends; raise what made the answer incomplete."""
        error: Exception | None = None
        try:
            await self._read_pieces()
        except zlib.error:
            error = AnswerFailed("provider_garbled")
        except Exception as caught:
            error = caught
        await self._add(self.reader.finish(cut=error is not None))
        if error is not None and not self.reader.ended:
            raise error

    async def _read_pieces(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as grace:
                async for data in self._stream:
                    before = self.reader.deltas
                    for piece in self._pieces(data):
                        await self._take(piece)
                        self._size += len(piece)
                        if self._size > HIGH_WATER_BYTES and self._deltas:
                            await self._wait_for_consumer()
                        if self.reader.done:
                            return
                    # Several providers send a finish reason with every chunk.
                    if self.reader.ended and (not grace.when() or self.reader.deltas > before):
                        grace.reschedule(loop.time() + GRACE_SECONDS)
        except TimeoutError:
            return
        for piece in self._decompressor.finish():
            await self._take(piece)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        for plain in self._decompressor.feed(data):
            # An empty piece counts as well: a compressed body may have thousands of empty members.
            for start in range(0, len(plain) or 1, PIECE_BYTES):
                yield plain[start : start + PIECE_BYTES]

    async def _take(self, piece: bytes) -> None:
        """Add the deltas in these bytes."""
        before = self.reader.deltas
        await self._add(self.reader.feed(piece))
        # Counted across reads: one TCP segment may hold thousands of tiny chunks.
        if self._is_turn_over(1 + len(piece) // 512 + self.reader.deltas - before):
            await asyncio.sleep(0)
        seconds = self._thoughts.hold_seconds
        if self._hold is None and not self._deltas and self._thoughts.holds and seconds is not None:
            self._hold = asyncio.get_running_loop().call_later(seconds, self._end_hold)

    async def _add(self, deltas: Iterator[Delta]) -> None:
        for delta in deltas:
            self._deltas.append(delta)
            self._readable.set()
            if self._is_turn_over(1):  # one event may hold thousands of fragments of tool calls
                await asyncio.sleep(0)

    def _is_turn_over(self, events: int) -> bool:
        """Count events; return True if control must be yielded, after EVENTS_PER_TURN of them."""
        self._turn += events
        if self._turn <= EVENTS_PER_TURN:
            return False
        self._turn = 0
        return True

    def _end_hold(self) -> None:
        self._deltas += self.reader.end_hold()
        if self._deltas:
            self._readable.set()

    async def _wait_for_consumer(self) -> None:
        """Pause until the deltas have been taken."""
        self._drained.clear()
        self._full.set()
        self._readable.set()
        await self._drained.wait()

    def _on_end(self, reading: asyncio.Task[None]) -> None:
        if self._hold is not None:
            self._hold.cancel()
        if not reading.cancelled():
            reading.exception()  # retrieved here, because a stopped answer never awaits the task
        self._full.set()
        self._readable.set()


def join(deltas: Iterable[Delta]) -> list[Delta]:
    """Join adjacent texts, and adjacent fragments of the arguments of one tool call."""
    joined: list[Delta] = []
    pieces: list[str] = []
    for delta in deltas:
        if joined and _continues(joined[-1], delta):
            pieces.append(delta[-1])
            continue
        if len(pieces) > 1:
            joined[-1] = _with(joined[-1], "".join(pieces))
        joined.append(delta)
        pieces = [delta[-1]]
    if len(pieces) > 1:
        joined[-1] = _with(joined[-1], "".join(pieces))
    return joined


def _continues(first: Delta, delta: Delta) -> bool:
    if isinstance(first, TextDelta) or isinstance(delta, TextDelta):
        return isinstance(first, TextDelta) and isinstance(delta, TextDelta)
    return first.number == delta.number and not (delta.id or delta.name or delta.extra)


def _with(first: Delta, text: str) -> Delta:
    return TextDelta(text) if isinstance(first, TextDelta) else first._replace(arguments=text)
