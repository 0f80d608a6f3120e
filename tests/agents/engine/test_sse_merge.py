"""The lines of a provider's events: some become one, and nothing of what they tell is lost."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine.failures import Halt
from agents.engine.sse_merge import Lines


def chunk(content: object = None, *, delta: dict[str, Any] | None = None, **more: Any) -> bytes:
    """Return the line of an event as providers send it."""
    said = {"content": content} if content is not None else {}
    choice = {"index": 0, "delta": said | (delta or {}), "logprobs": None, "finish_reason": None}
    event = {"id": "1", "model": "m", "choices": [choice | more.pop("choice", {})], **more}
    return b"data: " + json.dumps(event).encode()


def passed(*events: bytes, blank: bytes = b"") -> list[bytes]:
    """Return what is passed on for events of one line each."""
    return list(Lines().passed([line for event in events for line in (event, blank)]))


def contents(passed: Iterable[bytes]) -> list[str]:
    """Return the texts of the first choices, event by event."""
    events = [json.loads(line[5:]) for data in passed for line in data.split(b"\n") if line.strip()]
    return [event["choices"][0]["delta"]["content"] for event in events]


@pytest.mark.parametrize("blank", [b"", b"\r"])
def test_neighbours_that_add_text_become_one_event_like_the_first(blank: bytes) -> None:
    (joined,) = passed(
        chunk("Ma", delta={"role": "assistant"}), chunk("ru\n"), chunk("호"), blank=blank
    )

    assert contents([joined]) == ["Maru\n호"]
    assert joined.endswith(b"\n\n")
    assert json.loads(joined[5:]) | {"choices": []} == {"id": "1", "model": "m", "choices": []}


def test_a_text_without_neighbours_passes_as_it_came() -> None:
    event = chunk("alone", delta={"unknown": None})

    assert passed(event) == [event + b"\n\n"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(chunk("x", choice={"finish_reason": "stop"}), id="the end"),
        pytest.param(chunk("x", delta={"tool_calls": [{"index": 0}]}), id="a tool"),
        pytest.param(chunk("x", delta={"reasoning_content": "hm"}), id="a thought"),
        pytest.param(chunk("x", choice={"logprobs": {"content": []}}), id="probabilities"),
        pytest.param(chunk("x", choice={"index": 1}), id="another choice"),
        pytest.param(chunk(""), id="no text"),
        pytest.param(chunk(), id="no content"),
        pytest.param(chunk(["x"]), id="parts"),
        pytest.param(b'data: {"content": 1', id="no JSON"),
        pytest.param(b'data: ["content"]', id="no object"),
        pytest.param(b'data: {"content": 1, "choices": []}', id="no choice"),
        pytest.param(b": a comment", id="a comment"),
        pytest.param(b"data: [DONE]", id="done"),
        pytest.param(rb'data: {"choices":[{"delta":{"content":"\ud83d"}}]}', id="half a character"),
    ],
)
def test_what_tells_anything_else_passes_as_it_came_and_in_its_place(other: bytes) -> None:
    assert passed(chunk("a"), other, chunk("b")) == [
        chunk("a") + b"\n\n",
        other + b"\n\n",
        chunk("b") + b"\n\n",
    ]


def test_an_event_of_several_lines_passes_as_it_came() -> None:
    lines = [b"event: a", chunk("a"), b"", chunk("b"), b"id: 1", b""]

    assert b"".join(Lines().passed(lines)) == b"".join(line + b"\n" for line in lines)


def test_an_event_that_is_cut_between_its_lines_passes_as_it_came() -> None:
    lines = Lines()

    got = [
        *lines.passed([b"event: a"]),
        *lines.passed([chunk("a"), b"", chunk("b"), b"", chunk("c")]),
    ]
    got += lines.passed([b"", chunk("d"), b"", chunk("e"), b""])

    assert contents([b"".join(got[1:])]) == ["a", "b", "c", "de"]


def test_text_before_an_error_is_passed_on() -> None:
    passing = Lines().passed(
        [chunk("a"), b"", chunk("b"), b"", b'data: {"error": {"code": 1}}', b""]
    )

    assert contents([next(passing)]) == ["ab"]
    with pytest.raises(Halt):
        next(passing)


def test_usage_beside_text_is_an_event_of_its_own() -> None:
    first, second = b"".join(passed(chunk("a", usage={"prompt_tokens": 1}))).split(b"\n\n")[:2]

    assert json.loads(first[5:])["usage"] is None
    assert json.loads(second[5:])["choices"] == []


def test_how_many_have_become_one_is_known() -> None:
    lines = Lines()
    for text in lines.passed([chunk("a"), b"", chunk("b"), b"", b": ", b"", chunk("c"), b""]):
        assert text

    assert (lines.added, lines.joined) == (3, 1)


EVENTS = st.one_of(
    st.text(min_size=1).map(chunk),
    st.just(chunk("x", choice={"finish_reason": "length"})),
    st.just(chunk("y", usage={"completion_tokens": 1})),
    st.just(chunk(delta={"tool_calls": [{"index": 0}]})),
    st.just(b": ping"),
)


@given(st.lists(EVENTS), st.lists(st.integers(1, 9)), st.sampled_from([b"", b"\r"]))
def test_nothing_is_lost_however_it_comes(
    events: list[bytes], sizes: list[int], blank: bytes
) -> None:
    lines = [line for event in events for line in (event, blank)]
    passing = Lines()

    got = b"".join(
        data for some in cut(lines, [*sizes, len(lines)]) for data in passing.passed(some)
    )

    assert told(got.split(b"\n")) == told(lines)


def cut(lines: Sequence[bytes], sizes: Iterable[int]) -> Iterable[Sequence[bytes]]:
    """Cut lines into pieces of these sizes."""
    for size in sizes:
        yield lines[:size]
        lines = lines[size:]


def told(lines: Iterable[bytes]) -> list[Any]:
    """Return all that a reader of these events learns, with neighbouring texts put together."""
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
