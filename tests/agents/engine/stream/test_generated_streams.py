"""Streams of a grammar: every framing, cut and dialect gives the text of choice 0.

Each run has fresh seeds. A failure names its seed; `MARU_TEST_SEED=N` repeats it.
"""

from collections.abc import Iterator

import pytest

from agents.engine.stream import chat, sse
from agents.engine.stream.chat import TextDelta
from agents.engine.stream.compression import Decompressor
from agents.engine.stream.reader import AnswerReader, Delta
from agents.engine.stream.think_tags import ThinkTagFilter
from agents.engine_types import AnswerFailed
from tests.agents.engine.stream.grammar import FIRST_SEED, Stream, generate

STREAMS = 10_000


def read(stream: Stream) -> tuple[str, AnswerReader, str | None]:
    """Return the text of the stream, its reader, and the code of its failure."""
    thoughts = ThinkTagFilter()
    if not stream.hold:
        thoughts.end_hold()
    reader = AnswerReader(thoughts)
    texts: list[str] = []

    def add(deltas: Iterator[Delta]) -> None:
        texts.extend(delta.text for delta in deltas if isinstance(delta, TextDelta))

    decompressor = Decompressor(stream.encoding)
    code = None
    try:
        for chunk in stream.chunks:
            for piece in decompressor.feed(chunk):
                add(reader.feed(piece))
        for piece in decompressor.finish():
            add(reader.feed(piece))
        add(reader.finish(cut=stream.cut))
    except AnswerFailed as failed:
        code = failed.code
    return "".join(texts), reader, code


def check(stream: Stream) -> None:
    """Compare the stream with its expectation; the message names the seed."""
    text, reader, code = read(stream)
    name = f"MARU_TEST_SEED={stream.seed}"

    assert text == stream.text, name
    assert reader.ended == stream.complete, name
    assert code == (None if stream.complete or stream.cut else "truncated"), name
    found = reader.usage and (reader.usage.input_tokens, reader.usage.output_tokens)
    assert found == stream.usage, name


def test_ten_thousand_streams_give_the_text_of_choice_zero() -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + STREAMS):
        check(generate(seed))


def test_a_cut_at_every_byte_gives_the_same_text() -> None:
    streams = [generate(FIRST_SEED + number, cuts=False) for number in range(50)]
    streams.sort(key=lambda stream: len(stream.chunks[0]))

    for stream in streams[10:15]:
        (data,) = stream.chunks
        for position in range(len(data)):
            stream.chunks = [data[:position], data[position:]]
            check(stream)


def test_the_short_cuts_give_the_same_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare each stream with a reading of it that takes no short cut."""
    streams = [generate(FIRST_SEED + number) for number in range(500)]
    found = [read(stream) for stream in streams]
    monkeypatch.setattr(chat, "_plain_text", lambda value: None)
    monkeypatch.setattr(sse.SseParser, "_is_plain", lambda self, data: False)

    for stream, (text, reader, code) in zip(streams, found, strict=True):
        plain_text, plain_reader, plain_code = read(stream)
        name = f"MARU_TEST_SEED={stream.seed}"
        assert (text, code) == (plain_text, plain_code), name
        assert (reader.deltas, reader.usage) == (plain_reader.deltas, plain_reader.usage), name
