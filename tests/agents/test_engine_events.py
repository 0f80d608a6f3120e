"""The stream of a provider's events: what passes as it is, and where it is cut off."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from agents.engine.events import EVENT_LIMIT, EVENT_LINES, TOTAL_LIMIT, EventStream
from agents.engine.failures import Halt

KIBIBYTE = b"x" * 1024


class Sent(httpx.AsyncByteStream):
    """What a provider sends, piece by piece."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def passed(*pieces: bytes) -> bytes:
    """Return all that comes out of a stream."""
    return b"".join([data async for data in EventStream(Sent(pieces))])


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
