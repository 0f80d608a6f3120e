"""`EventMerger`: adjacent text events become one, and no content is lost."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine.failures import CallAborted
from agents.engine.sse_merge import EventMerger


def chunk(content: object = None, *, delta: dict[str, Any] | None = None, **more: Any) -> bytes:
    """Return the `data` line of an event as providers send it."""
    text = {"content": content} if content is not None else {}
    choice = {"index": 0, "delta": text | (delta or {}), "logprobs": None, "finish_reason": None}
    event = {"id": "1", "model": "m", "choices": [choice | more.pop("choice", {})], **more}
    return b"data: " + json.dumps(event).encode()


def merge(*events: bytes, blank: bytes = b"") -> list[bytes]:
    """Return the output for events of one line each."""
    return list(EventMerger().merge([line for event in events for line in (event, blank)]))


def contents(output: Iterable[bytes]) -> list[str]:
    """Return the text of the first choice of each event."""
    events = [json.loads(line[5:]) for data in output for line in data.split(b"\n") if line.strip()]
    return [event["choices"][0]["delta"]["content"] for event in events]


@pytest.mark.parametrize("blank", [b"", b"\r"])
def test_adjacent_text_events_become_one_with_the_fields_of_the_first(blank: bytes) -> None:
    (joined,) = merge(
        chunk("Ma", delta={"role": "assistant"}), chunk("ru\n"), chunk("호"), blank=blank
    )

    assert contents([joined]) == ["Maru\n호"]
    assert joined.endswith(b"\n\n")
    assert json.loads(joined[5:]) | {"choices": []} == {"id": "1", "model": "m", "choices": []}


def test_a_single_text_event_is_unchanged() -> None:
    event = chunk("alone", delta={"unknown": None})

    assert merge(event) == [event + b"\n\n"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(chunk("x", choice={"finish_reason": "stop"}), id="finish reason"),
        pytest.param(chunk("x", delta={"tool_calls": [{"index": 0}]}), id="tool call"),
        pytest.param(chunk("x", delta={"reasoning_content": "hm"}), id="reasoning"),
        pytest.param(chunk("x", choice={"logprobs": {"content": []}}), id="probabilities"),
        pytest.param(chunk("x", choice={"index": 1}), id="second choice"),
        pytest.param(chunk(""), id="empty text"),
        pytest.param(chunk(), id="no content"),
        pytest.param(chunk(["x"]), id="list of parts"),
        pytest.param(b'data: {"content": 1', id="invalid JSON"),
        pytest.param(b'data: ["content"]', id="not an object"),
        pytest.param(b'data: {"content": 1, "choices": []}', id="no choice"),
        pytest.param(b": a comment", id="comment"),
        pytest.param(b"data: [DONE]", id="done"),
        pytest.param(rb'data: {"choices":[{"delta":{"content":"\ud83d"}}]}', id="lone surrogate"),
    ],
)
def test_every_other_event_is_unchanged_and_keeps_its_position(other: bytes) -> None:
    assert merge(chunk("a"), other, chunk("b")) == [
        chunk("a") + b"\n\n",
        other + b"\n\n",
        chunk("b") + b"\n\n",
    ]


def test_an_event_of_several_lines_is_unchanged() -> None:
    lines = [b"event: a", chunk("a"), b"", chunk("b"), b"id: 1", b""]

    assert b"".join(EventMerger().merge(lines)) == b"".join(line + b"\n" for line in lines)


def test_an_event_split_over_two_calls_is_unchanged() -> None:
    merger = EventMerger()

    output = [
        *merger.merge([b"event: a"]),
        *merger.merge([chunk("a"), b"", chunk("b"), b"", chunk("c")]),
        *merger.merge([b"", chunk("d"), b"", chunk("e"), b""]),
    ]

    assert contents([b"".join(output[1:])]) == ["a", "b", "c", "de"]


def test_text_before_an_error_is_yielded_first() -> None:
    output = EventMerger().merge(
        [chunk("a"), b"", chunk("b"), b"", b'data: {"error": {"code": 1}}', b""]
    )

    assert contents([next(output)]) == ["ab"]
    with pytest.raises(CallAborted):
        next(output)


def test_an_event_with_text_and_usage_is_split() -> None:
    first, second = b"".join(merge(chunk("a", usage={"prompt_tokens": 1}))).split(b"\n\n")[:2]

    assert json.loads(first[5:])["usage"] is None
    assert json.loads(second[5:])["choices"] == []


def test_the_merger_counts_text_events_and_merged_ones() -> None:
    merger = EventMerger()

    output = list(merger.merge([chunk("a"), b"", chunk("b"), b"", b": ", b"", chunk("c"), b""]))

    assert len(output) == 3
    assert (merger.text_events, merger.merged) == (3, 1)


EVENTS = st.one_of(
    st.text(min_size=1).map(chunk),
    st.just(chunk("x", choice={"finish_reason": "length"})),
    st.just(chunk("y", usage={"completion_tokens": 1})),
    st.just(chunk(delta={"tool_calls": [{"index": 0}]})),
    st.just(b": ping"),
)


@given(st.lists(EVENTS), st.lists(st.integers(1, 9)), st.sampled_from([b"", b"\r"]))
def test_no_content_is_lost_for_any_split_of_the_lines(
    events: list[bytes], sizes: list[int], blank: bytes
) -> None:
    lines = [line for event in events for line in (event, blank)]
    merger = EventMerger()

    output = b"".join(
        data for part in split(lines, [*sizes, len(lines)]) for data in merger.merge(part)
    )

    assert read_events(output.split(b"\n")) == read_events(lines)


def split(lines: Sequence[bytes], sizes: Iterable[int]) -> Iterable[Sequence[bytes]]:
    """Split the lines into parts of these sizes."""
    for size in sizes:
        yield lines[:size]
        lines = lines[size:]


def read_events(lines: Iterable[bytes]) -> list[Any]:
    """Return the content of the events, with adjacent texts joined."""
    found: list[Any] = []
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        event = json.loads(line[5:])
        for choice in event["choices"]:
            text = choice["delta"].get("content", "")
            if found and isinstance(found[-1], str) and text:
                found[-1] += text
            elif text:
                found.append(text)
            found += [{key: value} for key, value in choice.items() if value and key != "delta"]
            found += choice["delta"].get("tool_calls", [])
        found += [event["usage"]] if event.get("usage") else []
    return found
