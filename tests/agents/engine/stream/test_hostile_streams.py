"""Streams that a hostile provider sends: the time is linear, and no step blocks the event loop.

One worker serves many teams on one event loop, and a lease lasts 8 seconds. So one event of the
largest size, and any number of tiny ones, must leave turns to the other tasks.
"""

import asyncio
import gc
import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from agents.engine.stream.body import AnswerBody
from agents.engine.stream.json_data import MAX_TOLERANT_BYTES
from agents.engine.stream.reader import MAX_EVENT_BYTES
from agents.engine.stream.think_tags import ThinkTagFilter
from agents.engine_types import AnswerFailed
from tests.agents.engine.stream.test_body import FixedStream, event
from tests.deadlines import scaled

SIZE = MAX_EVENT_BYTES - 1024
STEP_SECONDS = 1.0
ATTEMPTS = 3
"""Attempts to stay below the limits: a collection of garbage counts as CPU of a stream, too."""

Chunks = Callable[[int], list[bytes]]
"""Returns the chunks of a stream of about `size` bytes."""


def in_one_small_event(begin: str, token: str) -> Chunks:
    """Data that is not JSON of the standard."""
    chunks = in_one_event(begin, token)
    return lambda size: chunks(size * MAX_TOLERANT_BYTES // MAX_EVENT_BYTES)


def in_one_event(begin: str, token: str, end: str = "") -> Chunks:
    """The data of one event: a token that is repeated."""

    def chunks(size: int) -> list[bytes]:
        room = size - len(begin) - len(end)
        data = begin + token * (room // len(token.encode())) + end
        lines = data.replace("\n", "\ndata: ") if token.count("\n") == 0 else data
        return [f"data: {lines}\n\n".encode()]

    return chunks


def in_one_text(begin: str, token: str) -> Chunks:
    """One event with a text: a token that is repeated."""
    encoded = json.dumps(token)[1:-1]
    start = '{"choices":[{"delta":{"content":"' + begin
    return in_one_event(start, encoded, '"}}]}')


def in_many_texts(begin: str, token: str) -> Chunks:
    """Many events with tiny texts."""

    def chunks(size: int) -> list[bytes]:
        events = [
            b'data: {"choices":[{"delta":{"content":%b}}]}\n\n' % json.dumps(text).encode()
            for text in (begin, token)
        ]
        return [events[0], events[1] * (size // 8 // len(events[1]))]

    return chunks


def after_texts(later: Chunks) -> Chunks:
    """The same stream after texts that end the hold of the first text."""
    return lambda size: [*[event("a")] * 64, *later(size)]


def in_tiny_reads(token: bytes) -> Chunks:
    """A read for each few bytes."""
    return lambda size: [token] * (size // 32 // len(token))


def compressed(token: bytes) -> Chunks:
    return lambda size: [token * (size // len(token))]


def long_first_line(size: int) -> list[bytes]:
    return [b"data: " + b" " * (size // 2) + b'{"":"\n' + b"data\n" * (size // 10) + b"\n"]


TEXTS = (
    *("\n", " ", "\t", "a", "`", "<", "</", "<|", "[", "\\", "\0", "\ud83d", "😀"),
    *("</think>", "</think>\n", "a</think>\n", "`</think>`", "<think>", "<think></think>"),
    *("```\n</think>\n", "\n    ", "\n </think> \n", "~~~\n", "<think>\n</think>\n \n"),
)
DATA = (
    *("{", "[", "}", '"', "\\", '\\"', " ", ",", ":", "0", "0,", "[0,", "[],", "{},", '{"":', "-"),
    *(
        "[\n",
        '"\n',
        "[0\n",
        "0\n",
        "ping\n",
        "data",
        "data:",
        "data :",
        "data\n",
        "[DONE]",
        ": x\n",
    ),
    *(
        '["\n',
        "{}\n",
        "[]\n",
        '{"choices":[]}',
        '{"choices":[]}\n',
        "\n",
        "\r",
        "\r\n",
        "é",
        "\x85",
    ),
)
LISTS = (
    ('{"choices":[', "{},"),
    ('{"choices":[', "0,"),
    ('{"choices":[', "null,"),
    ('{"choices":[{"delta":{"content":[', "0,"),
    ('{"choices":[{"delta":{"content":[', '"a",'),
    ('{"choices":[{"delta":{"content":[', "{},"),
    ('{"choices":[{"delta":{"tool_calls":[', "{},"),
    ('{"choices":[{"delta":{"tool_calls":[', "0,"),
    ('{"choices":[{"delta":{"function_call":{"arguments":[', "0,"),
    ('{"error":[', "0,"),
    ('[{"error":0},', '{"error":0},'),
)
CLOSE = {"{": "}", "[": "]"}


LARGE = ("[", "[],", "{},", "0,", '"', " ")
READS = (b"\n", b"a", b"data:{\n", b"{", b" ")


def close(begin: str) -> str:
    return "null" + "".join(CLOSE[each] for each in reversed(begin) if each in CLOSE)


STREAMS: dict[str, Chunks] = {
    **{f"text {token!r}": in_one_text("", token) for token in TEXTS},
    **{f"thoughts {token!r}": in_one_text("<think>", token) for token in TEXTS},
    **{f"texts {token!r}": in_many_texts("", token) for token in TEXTS},
    **{f"shown {token!r}": after_texts(in_one_text("", token)) for token in TEXTS},
    **{f"shown texts {token!r}": after_texts(in_many_texts("", token)) for token in TEXTS},
    **{f"data {token!r}": in_one_small_event("", token) for token in DATA},
    **{f"data [{token!r}": in_one_small_event("[" * 500 + "\n", token) for token in DATA},
    **{
        f"large {token!r}": in_one_event("", token) for token in ("[", "[],", "{},", "0,", '"', " ")
    },
    "array after many": in_one_small_event("[\n" * 900, "0,"),
    "string after many": in_one_small_event('["\n' * 901, "0,"),
    "first line": long_first_line,
    **{f"{begin} {token}": in_one_event(begin, token, close(begin)) for begin, token in LISTS},
    "tool calls": in_one_small_event(
        "", '{"choices":[{"delta":{"tool_calls":[' + "{}," * 999 + "{}]}}]}\n"
    ),
    "parts": in_one_event("", '{"choices":[{"delta":{"content":[' + "0," * 999 + "0]}}]}\n"),
    **{
        f"reads {token!r}": in_tiny_reads(token) for token in (b"\n", b"a", b"data:{\n", b"{", b" ")
    },
    "empty gzip members": compressed(gzip.compress(b"")),
    "gzip members": compressed(gzip.compress(b"\n")),
    "gzip bomb": lambda size: [gzip.compress(b"\n" * size)],
}


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> Iterator[None]:
    """Keep what earlier tests have left from collections of garbage, as `engine.warm` does."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def measure(chunks: list[bytes], hold: float | None) -> tuple[float, float]:
    """Return the CPU time of the stream, and of its longest step on the event loop."""
    longest = 0.0
    body = AnswerBody(FixedStream(chunks), "", ThinkTagFilter(hold_seconds=hold))

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - began)

    watching = asyncio.create_task(watch())
    began = time.process_time()
    with suppress(AnswerFailed):
        async for _ in body.batches():
            pass
    spent = time.process_time() - began
    watching.cancel()
    return spent, longest


@pytest.mark.parametrize("name", STREAMS)
async def test_no_stream_takes_quadratic_time_or_blocks_the_event_loop(name: str) -> None:
    hold = 0.0 if name.startswith("shown") else None
    for _ in range(ATTEMPTS):
        half, _ = await measure(STREAMS[name](SIZE // 2), hold)
        whole, longest = await measure(STREAMS[name](SIZE), hold)
        if whole < 3 * half + scaled(0.05) and longest < scaled(STEP_SECONDS):
            return

    pytest.fail(f"{half=:.3f} {whole=:.3f} {longest=:.3f}, and not less before")
