"""Fragments of tool calls become the calls that the model meant, in each dialect."""

import json

import pytest

from agents.engine.stream.body import join
from agents.engine.stream.chat import ChatNormaliser, TextDelta, ToolCallDelta
from agents.engine.stream.sse import SseEvent
from agents.engine.stream.tool_calls import ToolCalls

Fragment = dict[str, object]


def fragment(name: str = "", arguments: str = "", **fields: object) -> Fragment:
    """Return a fragment as a provider sends it; `fields` are its index and id."""
    return {"function": {"name": name, "arguments": arguments}, **fields}


def calls_of(*events: list[Fragment]) -> list[tuple[str, str]]:
    """Return the names and arguments of the calls in these events."""
    chat, calls = ChatNormaliser(), ToolCalls()
    for fragments in events:
        delta = {"choices": [{"index": 0, "delta": {"tool_calls": fragments}}]}
        parts = chat.feed(SseEvent(json.dumps(delta).encode()))
        for part in join(part for part in parts if isinstance(part, ToolCallDelta)):
            assert isinstance(part, ToolCallDelta)
            calls.add(part)
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls.complete()]


TWO = [("look", '{"a":1}'), ("find", '{"b":2}')]
FORMS: dict[str, list[list[Fragment]]] = {
    "numbered": [
        [fragment("look", "", index=0, id="x")],
        [fragment("", '{"a"', index=0), fragment("", ":1}", index=0)],
        [fragment("find", "", index=1, id="y"), fragment("", '{"b":2}', index=1)],
    ],
    "numbered, in turns": [
        [fragment("look", '{"a"', index=0, id="x"), fragment("find", '{"b"', index=1, id="y")],
        [fragment("", ":1}", index=0), fragment("", ":2}", index=1)],
    ],
    "no index": [
        [fragment("look", '{"a"', id="x")],
        [fragment("", ":1}")],
        [fragment("find", '{"b"', id="y")],
        [fragment("", ":2}")],
    ],
    "no index, in one event": [
        [fragment("look", '{"a":1}', id="x"), fragment("find", '{"b":2}', id="y")]
    ],
    "no index and no id": [[fragment("look", '{"a":1}')], [fragment("find", '{"b":2}')]],
    "the same index": [
        [fragment("look", '{"a":1}', index=0, id="x")],
        [fragment("find", '{"b":2}', index=0, id="y")],
    ],
    "id and name in every fragment": [
        [fragment("look", '{"a"', index=0, id="x")],
        [fragment("look", ":1}", index=0, id="x")],
        [fragment("find", '{"b"', index=0, id="y")],
        [fragment("find", ":2}", index=0, id="y")],
    ],
    "an id without a name in every fragment": [
        [fragment("look", '{"a"', index=0, id="x1")],
        [fragment("", ":1}", index=0, id="x2")],
        [fragment("find", '{"b":2}', index=1, id="y")],
    ],
    "empty ids": [
        [fragment("look", '{"a":1}', index=0, id="")],
        [fragment("find", '{"b":2}', index=1, id="")],
    ],
    "the id later": [
        [fragment("look", index=0)],
        [fragment("", '{"a":1}', index=0, id="x")],
        [fragment("find", '{"b":2}', index=1, id="y")],
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_two_calls_gives_two_calls(form: str) -> None:
    assert calls_of(*FORMS[form]) == TWO


def test_a_call_without_an_id_gets_an_id_of_its_own() -> None:
    calls = ToolCalls()
    for name in ("look", "find"):
        calls.add(ToolCallDelta(None, None, name, None, "{}"))

    ids = [call["id"] for call in calls.complete()]

    assert all(ids)
    assert len({*ids}) == 2
    assert [call["id"] for call in calls.complete()] == ids


def test_only_adjacent_deltas_of_one_kind_are_joined() -> None:
    first, more = ToolCallDelta(0, "x", "look", None, "{"), ToolCallDelta(0, None, None, None, "}")
    other = ToolCallDelta(1, None, None, None, "{}")

    joined = join([TextDelta("a"), TextDelta("b"), first, more, other, TextDelta("c")])

    assert joined == [
        TextDelta("ab"),
        ToolCallDelta(0, "x", "look", None, "{}"),
        other,
        TextDelta("c"),
    ]
