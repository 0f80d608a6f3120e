"""`AnswerBody`: batches, backpressure, size limits, and the end of an answer."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

import httpx
import pytest

from agents.engine.stream import body as body_module
from agents.engine.stream.body import HIGH_WATER_BYTES, AnswerBody
from agents.engine.stream.chat import TextDelta
from agents.engine.stream.reader import MAX_EVENT_BYTES, MAX_STREAM_BYTES, Delta
from agents.engine.stream.think_tags import ThinkTagFilter
from agents.engine_types import AnswerFailed
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


FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def body_of(stream: httpx.AsyncByteStream, encoding: str = "") -> AnswerBody:
    """Return a body whose text is not held for an end tag of thoughts."""
    thoughts = ThinkTagFilter()
    thoughts.end_hold()
    return AnswerBody(stream, encoding, thoughts)


def text_of(batch: list[Delta]) -> str:
    return "".join(delta.text for delta in batch if isinstance(delta, TextDelta))


async def read(*chunks: bytes, encoding: str = "") -> str:
    """Return the whole text of these chunks."""
    batches = body_of(FixedStream(chunks), encoding).batches()
    return "".join([text_of(batch) async for batch in batches])


async def next_text(batches: AsyncGenerator[list[Delta]]) -> str:
    return text_of(await anext(batches))


@pytest.fixture
def endless_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each batch open for an hour, so that only another event closes it."""
    monkeypatch.setattr(body_module, "batch_seconds", lambda sent: LONG)


async def test_the_size_limit_of_an_event_does_not_apply_to_several_events() -> None:
    text = KIBIBYTE.decode()
    events = MAX_EVENT_BYTES // 1024 + 1

    assert await read(*[event(text)] * events, DONE) == text * events


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(KIBIBYTE, id="one line"),
        pytest.param(b"data: " + KIBIBYTE + b"\n", id="lines"),
        pytest.param(b"data: {" + KIBIBYTE + b"\n", id="open JSON"),
        pytest.param(b"{" + KIBIBYTE + b"\n", id="JSON without a field name"),
        pytest.param(b"data\n" * 1024, id="empty lines of data"),
    ],
)
async def test_an_endless_event_is_cut_off(chunk: bytes) -> None:
    with pytest.raises(AnswerFailed, match="provider_garbled"):
        await read(*[chunk] * (MAX_EVENT_BYTES // 1024 + 1))


async def test_text_before_an_endless_event_is_passed_on() -> None:
    batches = body_of(FixedStream([event("a") + b"data: " + b"x" * MAX_EVENT_BYTES])).batches()

    assert await next_text(batches) == "a"
    with pytest.raises(AnswerFailed, match="provider_garbled"):
        await anext(batches)


async def test_comments_without_blank_lines_do_not_end_an_answer() -> None:
    assert await read(*[b": still here\n"] * 10_000, event("a"), DONE) == "a"


async def test_an_endless_stream_is_cut_off() -> None:
    with pytest.raises(AnswerFailed, match="provider_garbled"):
        await read(*[b": " + KIBIBYTE + b"\n\n"] * (MAX_STREAM_BYTES // 1024))


async def test_the_limits_apply_to_decompressed_bytes() -> None:
    bomb = gzip.compress(b": " + b"x" * (MAX_STREAM_BYTES + 1) + b"\n")

    with pytest.raises(AnswerFailed, match="provider_garbled"):
        await read(bomb, encoding="gzip")


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([event("x")] * 160, id="many chunks"),
        pytest.param([event("x") * 1600], id="one large chunk"),
        pytest.param([b": "] * 400, id="byte by byte"),
        pytest.param([b"\n" * 64 * 1024], id="blank lines"),
        pytest.param([gzip.compress(b"\n" * 1024 * 1024)], id="compressed blank lines"),
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
    with pytest.raises(AnswerFailed):
        await read(*chunks)
    counting.cancel()

    assert turns >= 10


async def test_the_first_text_is_passed_on_at_once_and_later_text_in_batches(
    endless_batches: None,
) -> None:
    stream = ControlledStream()
    batches = body_of(stream).batches()

    async with asyncio.timeout(DEADLINE):
        stream.send("a")
        assert await next_text(batches) == "a"
        stream.send("b")
        second = asyncio.ensure_future(next_text(batches))
        for _ in range(10):
            await asyncio.sleep(0)
        stream.send("c")
        stream.chunks.put_nowait(DONE)
        assert await second == "bc"


async def test_a_batch_closes_after_its_time() -> None:
    stream = ControlledStream()
    batches = body_of(stream).batches()

    async with asyncio.timeout(DEADLINE):
        stream.send("a")
        await anext(batches)
        stream.send("b")
        assert await next_text(batches) == "b"


async def test_the_end_of_the_answer_closes_the_batch(endless_batches: None) -> None:
    async with asyncio.timeout(DEADLINE):
        assert await read(event("a"), DONE) == "a"


async def test_text_before_a_broken_connection_is_passed_on_first(endless_batches: None) -> None:
    stream = ControlledStream()
    batches = body_of(stream).batches()
    stream.send("a", "b")
    stream.chunks.put_nowait(httpx.ReadError("reset"))

    async with asyncio.timeout(DEADLINE):
        assert await next_text(batches) == "ab"
        with pytest.raises(httpx.ReadError):
            await anext(batches)


async def test_the_high_water_mark_closes_the_batch(endless_batches: None) -> None:
    stream = ControlledStream()
    batches = body_of(stream).batches()
    stream.send("a")

    async with asyncio.timeout(DEADLINE):
        await anext(batches)
        stream.send("b" * HIGH_WATER_BYTES, "c")
        assert await next_text(batches) == "b" * HIGH_WATER_BYTES


async def test_reading_pauses_until_the_consumer_takes_more() -> None:
    stream = ControlledStream()
    batches = body_of(stream).batches()
    stream.send(*["b" * 1024] * 1024)

    async with asyncio.timeout(DEADLINE):
        await anext(batches)
        for _ in range(1000):
            await asyncio.sleep(0)

    assert stream.bytes_read < 2 * HIGH_WATER_BYTES + 2 * 1024


async def test_closing_stops_the_reader() -> None:
    stream = ControlledStream()
    body = body_of(stream)
    batches = body.batches()
    stream.send("a")
    async with asyncio.timeout(DEADLINE):
        await anext(batches)

        await body.aclose()
    stream.send("b")
    await asyncio.sleep(0)

    assert stream.closed
    assert stream.chunks.qsize() == 1


async def test_after_a_finish_reason_the_body_is_read_for_the_grace_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body_module, "GRACE_SECONDS", 0.02)
    stream = ControlledStream()
    body = body_of(stream)
    stream.send("a")
    stream.chunks.put_nowait(FINISH)

    async with asyncio.timeout(DEADLINE):
        assert [text_of(batch) async for batch in body.batches()] == ["a"]

    assert body.reader.finish_reason == "stop"


async def test_text_after_a_finish_reason_is_part_of_the_answer() -> None:
    assert await read(event("a"), FINISH, event("b"), FINISH, DONE) == "ab"


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([b'data: {"error":{"code":500}}\n\n'], id="error"),
        pytest.param([b"data: {broken\n\n"], id="broken JSON"),
        pytest.param([b'data: {"choices":7}\n\n'], id="choices of an unknown shape"),
        pytest.param([b"data: " + b"x" * MAX_EVENT_BYTES], id="endless event"),
        pytest.param([FINISH.replace(b"stop", b"error"), DONE], id="another reason"),
        pytest.param([httpx.ReadError("reset")], id="broken connection"),
        pytest.param([DONE, b'data: {"error":{"code":500}}\n\n'], id="error after DONE"),
        pytest.param([None], id="end of the body"),
    ],
)
async def test_after_a_finish_reason_nothing_makes_the_answer_fail(
    later: list[bytes | Exception | None],
) -> None:
    stream = ControlledStream()
    stream.send("a")
    for chunk in (FINISH, *later, None):
        stream.chunks.put_nowait(chunk)
    body = body_of(stream)

    async with asyncio.timeout(DEADLINE):
        assert [text_of(batch) async for batch in body.batches()] == ["a"]

    assert body.reader.finish_reason == "stop"


async def test_text_that_is_held_for_an_end_tag_is_passed_on_after_its_time() -> None:
    stream = ControlledStream()
    batches = AnswerBody(stream, "", ThinkTagFilter()).batches()
    stream.send("a")

    async with asyncio.timeout(DEADLINE):
        assert await next_text(batches) == "a"


async def test_an_end_tag_in_time_removes_the_thoughts_before_it() -> None:
    stream = ControlledStream()
    batches = AnswerBody(stream, "", ThinkTagFilter(hold_seconds=LONG)).batches()
    stream.send("secret</thi", "nk>", "a")

    async with asyncio.timeout(DEADLINE):
        assert await next_text(batches) == "a"
