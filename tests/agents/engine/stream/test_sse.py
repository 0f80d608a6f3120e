"""`SseParser`: the rules and examples of WHATWG HTML §9.2, and the forms beyond it."""

import pytest

from agents.engine.stream.sse import EventTooLarge, SseEvent, SseParser


def parse(text: str | bytes, size: int = 1_000_000) -> list[SseEvent]:
    """Return the events of a body that arrives in chunks of this size."""
    data = text.encode() if isinstance(text, str) else text
    parser = SseParser(10_000)
    events: list[SseEvent] = []
    for start in range(0, len(data), size):
        events += parser.feed(data[start : start + size])
    return [*events, *parser.finish()]


def data_of(text: str | bytes, size: int = 1_000_000) -> list[str]:
    return [event.data.decode("utf-8", "replace") for event in parse(text, size)]


SPECIFIED = {
    "several data lines": ("data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]),
    "comment, id, no space": (
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n",
        ["first event", "second event"],
    ),
    "empty data": ("data\n\ndata\ndata\n\n", ["", "\n"]),
    "one space is removed": (
        "data:test\n\ndata: test\n\ndata:  test\n\n",
        ["test", "test", " test"],
    ),
    "CR": ("data: a\rdata: b\r\rdata: c\r\r", ["a\nb", "c"]),
    "CRLF": ("data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", ["a\nb", "c"]),
    "mixed line ends": ("data: a\r\n\ndata: b\n\rdata: c\r\r\n", ["a", "b", "c"]),
    "byte order mark": ("\ufeffdata: a\n\n", ["a"]),
    "only one byte order mark": ("data: \ufeffa\n\n", ["\ufeffa"]),
    "event without data": ("event: a\n\ndata: b\n\n", ["b"]),
    "unknown field": ("other: a\nfield\ndata: b\n\n", ["b"]),
    "colon in the value": ("data: a: b\n\n", ["a: b"]),
}
BEYOND = {
    "white space before the field": (" data: a\n\n\tdata: b\n\n", ["a", "b"]),
    "letter case of the field": ("Data: a\n\nDATA: b\n\n", ["a", "b"]),
    "no blank lines": (
        'data: {"a": 1}\ndata: {"b": 2}\ndata: [DONE]\n',
        ['{"a": 1}', '{"b": 2}', "[DONE]"],
    ),
    "no blank line after a word": ('data: ping\ndata: {"a": 1}\n', ["ping", '{"a": 1}']),
    "JSON lines": ('{"a": 1}\n{"b": 2}\n', ['{"a": 1}', '{"b": 2}']),
    "pretty-printed data": ('data: {\ndata: "a": 1\ndata: }\n\n', ['{\n"a": 1\n}']),
    "pretty-printed JSON": ('{\n  "a": [\n  1]\n}\n{"b": 2}', ['{\n  "a": [\n  1]\n}', '{"b": 2}']),
    "brackets in strings": ('{"a": "}{\\"["\n}\n', ['{"a": "}{\\"["\n}']),
    "error between events": ('data: {"a": 1}\n\n{"error": 1}\n\n', ['{"a": 1}', '{"error": 1}']),
    "no blank line at the end": ("data: a\n\ndata: b\n", ["a", "b"]),
    "no line end at the end": ("data: a\n\ndata: b", ["a", "b"]),
}


@pytest.mark.parametrize("name", SPECIFIED | BEYOND)
def test_events_are_the_same_for_every_size_of_the_chunks(name: str) -> None:
    text, expected = (SPECIFIED | BEYOND)[name]

    for size in (1, 2, 3, 1_000):
        assert data_of(text, size) == expected


def test_an_event_has_its_type_and_the_last_id() -> None:
    events = parse("id: 1\nevent: add\ndata: a\n\ndata: b\n\nid: 2\nid: x\0\ndata: c\n\n")

    assert [event.type for event in events] == ["add", "message", "message"]
    assert [event.last_id for event in events] == ["1", "1", "2"]


def test_the_type_of_an_event_without_data_is_forgotten() -> None:
    assert parse("event: heartbeat\n\ndata: a\n\n")[0].type == "message"


@pytest.mark.parametrize(
    ("value", "retry"), [("3000", 3000), ("", None), ("1s", None), ("-1", None)]
)
def test_the_reconnection_time_is_a_number_of_digits(value: str, retry: int | None) -> None:
    parser = SseParser(100)

    list(parser.feed(f"retry: {value}\n".encode()))

    assert parser.retry == retry


def test_complete_json_is_an_event_before_the_next_line_arrives() -> None:
    parser = SseParser(100)

    assert [event.data for event in parser.feed(b'data: {"a": 1}\n')] == [b'{"a": 1}']
    assert not list(parser.feed(b"\ndata: a\n"))
    assert [event.data for event in parser.feed(b"\n")] == [b"a"]


def test_an_event_that_the_end_of_the_stream_ends_is_marked() -> None:
    assert [event.complete for event in parse("data: a\n\ndata: b")] == [True, False]


def test_invalid_utf_8_in_a_field_is_replaced() -> None:
    (event,) = parse(b"event: \xff\ndata: a\n\n")

    assert event.type == "\ufffd"


def test_an_event_above_the_limit_is_refused_after_the_events_before_it() -> None:
    parser = SseParser(10)
    events = parser.feed(b"data: a\n\ndata: 12345678901\n\n")

    assert next(events).data == b"a"
    with pytest.raises(EventTooLarge):
        next(events)
