"""The stream of a provider's events: what passes when, and where it is cut off."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from agents.engine import sse_stream
from agents.engine.failures import Halt
from agents.engine.sse_merge import Lines
from agents.engine.sse_stream import EVENT_LIMIT, EVENT_LINES, PLENTY, TOTAL_LIMIT, EventStream
from tests.deadlines import DEADLINE

KIBIBYTE = b"x" * 1024
LONG = 3600.0


class Sent(httpx.AsyncByteStream):
    """What a provider sends, piece by piece."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class Spoken(httpx.AsyncByteStream):
    """What a provider says when the test has it say so."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.taken = 0
        self.closed = False

    def say(self, *texts: str) -> None:
        for text in texts:
            self.pieces.put_nowait(event(text))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.pieces.get():
            if isinstance(piece, Exception):
                raise piece
            self.taken += len(piece)
            yield piece

    async def aclose(self) -> None:
        self.closed = True


def event(text: str) -> bytes:
    """Return an event that adds a text without quotes."""
    return b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % text.encode()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gathers does so for an hour, unless something else happens."""
    monkeypatch.setattr(sse_stream, "pace", lambda told: LONG)


async def passed(*pieces: bytes) -> bytes:
    """Return all that comes out of a stream."""
    return b"".join([data async for data in EventStream(Sent(pieces), Lines())])


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_what_is_in_order_passes_as_it_is_however_it_is_cut(size: int) -> None:
    sent = b': hello\n\nevent: a\r\ndata: {"a": 1}\r\n\r\ndata: {"usage": null}\n\ndata: no end'

    got = await passed(*(sent[start : start + size] for start in range(0, len(sent), size)))

    assert got == sent


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
async def test_many_events_pass_that_together_are_larger_than_one_may_be(end: bytes) -> None:
    event = b"data: " + KIBIBYTE + end
    events = EVENT_LIMIT // 1024 + EVENT_LINES

    assert await passed(*[event] * events) == event * events


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(KIBIBYTE, id="one line"),
        pytest.param(b"data: " + KIBIBYTE + b"\n", id="lines"),
        pytest.param(b"data: " + KIBIBYTE + b"\n\r\n", id="blank lines that end nothing"),
        pytest.param(b"\r" + KIBIBYTE, id="line ends of another kind"),
    ],
)
async def test_an_event_without_end_is_cut_off(piece: bytes) -> None:
    with pytest.raises(Halt, match="provider_garbled"):
        await passed(*[piece] * (EVENT_LIMIT // 1024 + 1))


async def test_an_event_of_very_many_lines_is_cut_off() -> None:
    with pytest.raises(Halt, match="provider_garbled"):
        await passed(*[b":\n"] * (EVENT_LINES + 1))


async def test_a_stream_without_end_is_cut_off() -> None:
    with pytest.raises(Halt, match="provider_garbled"):
        await passed(*[b"data: " + KIBIBYTE + b"\n\n"] * (TOTAL_LIMIT // 1024))


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"data: x\n\n"] * 160, id="many pieces"),
        pytest.param([b"data: x\n\n" * 160], id="one large piece"),
        pytest.param([b"x"] * 320, id="byte by byte"),
    ],
)
async def test_others_have_their_turn_while_a_provider_is_in_a_hurry(pieces: list[bytes]) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert await passed(*pieces) == b"".join(pieces)
    counting.cancel()

    assert turns >= 18


async def test_the_first_text_goes_on_at_once_and_the_next_together() -> None:
    spoken = Spoken()
    stream = aiter(EventStream(spoken, Lines()))

    async with asyncio.timeout(DEADLINE):
        spoken.say("a")
        assert await anext(stream) == event("a")
        spoken.say("b")
        more = asyncio.ensure_future(anext(stream))
        for _ in range(10):
            await asyncio.sleep(0)
        spoken.say("c")
        assert await more == event("bc")


async def test_nobody_waits_for_more_at_the_end(endless: None) -> None:
    spoken = Spoken()
    spoken.say("a")
    spoken.pieces.put_nowait(None)

    async with asyncio.timeout(DEADLINE):
        assert [data async for data in EventStream(spoken, Lines())] == [event("a")]


async def test_what_came_before_a_broken_connection_goes_on_first(endless: None) -> None:
    spoken = Spoken()
    stream = aiter(EventStream(spoken, Lines()))
    spoken.say("a", "b")
    spoken.pieces.put_nowait(httpx.ReadError("reset"))

    async with asyncio.timeout(DEADLINE):
        assert await anext(stream) == event("ab")
        with pytest.raises(httpx.ReadError):
            await anext(stream)


async def test_a_provider_in_a_hurry_does_not_wait_for_the_pace(endless: None) -> None:
    spoken = Spoken()
    stream = aiter(EventStream(spoken, Lines()))
    spoken.say("a")

    async with asyncio.timeout(DEADLINE):
        await anext(stream)
        spoken.say("b" * PLENTY, "c")
        assert await anext(stream) == event("b" * PLENTY)


async def test_no_more_is_read_than_somebody_takes() -> None:
    spoken = Spoken()
    stream = aiter(EventStream(spoken, Lines()))
    spoken.say(*["b" * 1024] * 1024)

    async with asyncio.timeout(DEADLINE):
        await anext(stream)
        for _ in range(1000):
            await asyncio.sleep(0)

    assert spoken.taken < 2 * PLENTY + 2 * 1024


async def test_closing_ends_the_reading() -> None:
    spoken = Spoken()
    stream = EventStream(spoken, Lines())
    told = aiter(stream)
    spoken.say("a")
    async with asyncio.timeout(DEADLINE):
        await anext(told)

        await stream.aclose()
    spoken.say("b")
    await asyncio.sleep(0)

    assert spoken.closed
    assert spoken.pieces.qsize() == 1
