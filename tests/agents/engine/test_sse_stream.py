"""`EventStream`: batches, backpressure and size limits."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from agents.engine import sse_stream
from agents.engine.failures import CallAborted
from agents.engine.sse_merge import EventMerger
from agents.engine.sse_stream import (
    HIGH_WATER_BYTES,
    MAX_EVENT_BYTES,
    MAX_EVENT_LINES,
    MAX_STREAM_BYTES,
    EventStream,
)
from tests.deadlines import DEADLINE

KIBIBYTE = b"x" * 1024
LONG = 3600.0


class FixedStream(httpx.AsyncByteStream):
    """A response body of fixed chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


class ControlledStream(httpx.AsyncByteStream):
    """A response body that the test feeds."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.bytes_read = 0
        self.closed = False

    def send(self, *texts: str) -> None:
        for text in texts:
            self.chunks.put_nowait(event(text))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.chunks.get():
            if isinstance(chunk, Exception):
                raise chunk
            self.bytes_read += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


def event(text: str) -> bytes:
    """Return a text event. The text must not need escapes."""
    return b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % text.encode()


@pytest.fixture
def endless_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each batch open for an hour, so that only another event closes it."""
    monkeypatch.setattr(sse_stream, "batch_seconds", lambda sent: LONG)


async def read(*chunks: bytes) -> bytes:
    """Return the whole output for these chunks."""
    return b"".join([data async for data in EventStream(FixedStream(chunks), EventMerger())])


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_valid_events_are_unchanged_for_every_chunk_size(size: int) -> None:
    sent = b': hello\n\nevent: a\r\ndata: {"a": 1}\r\n\r\ndata: {"usage": null}\n\ndata: no end'

    output = await read(*(sent[start : start + size] for start in range(0, len(sent), size)))

    assert output == sent


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
async def test_the_size_limit_of_an_event_does_not_apply_to_several_events(end: bytes) -> None:
    event = b"data: " + KIBIBYTE + end
    events = MAX_EVENT_BYTES // 1024 + MAX_EVENT_LINES

    assert await read(*[event] * events) == event * events


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(KIBIBYTE, id="one line"),
        pytest.param(b"data: " + KIBIBYTE + b"\n", id="lines"),
        pytest.param(b"data: " + KIBIBYTE + b"\n\r\n", id="blank lines with another line ending"),
        pytest.param(b"\r" + KIBIBYTE, id="CR only"),
    ],
)
async def test_an_endless_event_is_cut_off(chunk: bytes) -> None:
    with pytest.raises(CallAborted, match="provider_garbled"):
        await read(*[chunk] * (MAX_EVENT_BYTES // 1024 + 1))


async def test_an_event_with_too_many_lines_is_cut_off() -> None:
    with pytest.raises(CallAborted, match="provider_garbled"):
        await read(*[b":\n"] * (MAX_EVENT_LINES + 1))


async def test_an_endless_stream_is_cut_off() -> None:
    with pytest.raises(CallAborted, match="provider_garbled"):
        await read(*[b"data: " + KIBIBYTE + b"\n\n"] * (MAX_STREAM_BYTES // 1024))


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"data: x\n\n"] * 160, id="many chunks"),
        pytest.param([b"data: x\n\n" * 160], id="one large chunk"),
        pytest.param([b"x"] * 320, id="byte by byte"),
    ],
)
async def test_other_tasks_get_turns_while_a_provider_sends_fast(chunks: list[bytes]) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert await read(*chunks) == b"".join(chunks)
    counting.cancel()

    assert turns >= 18


async def test_the_first_text_is_passed_on_at_once_and_later_text_in_batches(
    endless_batches: None,
) -> None:
    body = ControlledStream()
    stream = aiter(EventStream(body, EventMerger()))

    async with asyncio.timeout(DEADLINE):
        body.send("a")
        assert await anext(stream) == event("a")
        body.send("b")
        second = asyncio.ensure_future(anext(stream))
        for _ in range(10):
            await asyncio.sleep(0)
        body.send("c")
        body.chunks.put_nowait(None)
        assert await second == event("bc")


async def test_a_batch_closes_after_its_time() -> None:
    body = ControlledStream()
    stream = aiter(EventStream(body, EventMerger()))

    async with asyncio.timeout(DEADLINE):
        body.send("a")
        await anext(stream)
        body.send("b")
        assert await anext(stream) == event("b")


async def test_the_end_of_the_stream_closes_the_batch(endless_batches: None) -> None:
    body = ControlledStream()
    body.send("a")
    body.chunks.put_nowait(None)

    async with asyncio.timeout(DEADLINE):
        assert [data async for data in EventStream(body, EventMerger())] == [event("a")]


async def test_text_before_a_broken_connection_is_passed_on_first(endless_batches: None) -> None:
    body = ControlledStream()
    stream = aiter(EventStream(body, EventMerger()))
    body.send("a", "b")
    body.chunks.put_nowait(httpx.ReadError("reset"))

    async with asyncio.timeout(DEADLINE):
        assert await anext(stream) == event("ab")
        with pytest.raises(httpx.ReadError):
            await anext(stream)


async def test_the_high_water_mark_closes_the_batch(endless_batches: None) -> None:
    body = ControlledStream()
    stream = aiter(EventStream(body, EventMerger()))
    body.send("a")

    async with asyncio.timeout(DEADLINE):
        await anext(stream)
        body.send("b" * HIGH_WATER_BYTES, "c")
        assert await anext(stream) == event("b" * HIGH_WATER_BYTES)


async def test_reading_pauses_until_the_consumer_takes_more() -> None:
    body = ControlledStream()
    stream = aiter(EventStream(body, EventMerger()))
    body.send(*["b" * 1024] * 1024)

    async with asyncio.timeout(DEADLINE):
        await anext(stream)
        for _ in range(1000):
            await asyncio.sleep(0)

    assert body.bytes_read < 2 * HIGH_WATER_BYTES + 2 * 1024


async def test_closing_stops_the_reader() -> None:
    body = ControlledStream()
    stream = EventStream(body, EventMerger())
    output = aiter(stream)
    body.send("a")
    async with asyncio.timeout(DEADLINE):
        await anext(output)

        await stream.aclose()
    body.send("b")
    await asyncio.sleep(0)

    assert body.closed
    assert body.chunks.qsize() == 1
