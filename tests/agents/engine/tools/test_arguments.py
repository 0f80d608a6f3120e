"""The arguments of calls: what is read, what is refused, and that a schema cannot take long."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine.tool_arguments import MAX_DEPTH, WrongArguments, check, read
from agents.tool_types import MAX_ARGUMENTS

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_arguments_are_read_as_they_were_written(arguments: dict[str, Any]) -> None:
    stored, value = read(json.dumps(arguments))

    assert value == arguments
    assert read(stored) == (stored, value)


def test_what_is_executed_is_what_is_stored() -> None:
    stored, value = read('{"a": "\\ud800", "b": "\\u0000"}')

    assert stored == '{"a": "\ufffd", "b": "\\u0000"}'
    assert value == {"a": "\ufffd", "b": "\0"}


@pytest.mark.parametrize("text", ["", " \n", "{}", "null", " { } "])
def test_no_arguments_have_several_forms(text: str) -> None:
    assert read(text) == ("{}", {})


def test_a_line_break_inside_of_a_string_is_accepted() -> None:
    assert read('{"a": "b\nc"}') == ('{"a": "b\\nc"}', {"a": "b\nc"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": ', "not valid JSON"),
        ("{}{}", "not valid JSON"),
        ('{"a": NaN}', "not valid JSON"),
        ('{"a": 1e999}', "not valid JSON"),
        ('{"a": ' + "1" * 5000 + "}", "not valid JSON"),
        ("[" * 50_000, "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('"a"', "not a JSON object"),
        ("7", "not a JSON object"),
        ('{"a":' * MAX_DEPTH + "{}" + "}" * MAX_DEPTH, "nested too deeply"),
        ('{"a": "' + "x" * MAX_ARGUMENTS + '"}', "longer than"),
        ('{"a": "' + "\x01" * (MAX_ARGUMENTS // 2) + '"}', "longer than"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(text: str, problem: str) -> None:
    with pytest.raises(WrongArguments, match=problem):
        read(text)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 3},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "kind": {"enum": ["a", "b"]},
        "maybe": {"type": ["string", "null"]},
        "list": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1, "maxItems": 2},
        "either": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["x"]}]},
        "both": {"allOf": [{"minimum": 1}, {"maximum": 2}]},
        "fixed": {"const": {"a": 1}},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"item": {"type": "object", "properties": {"id": {"type": "number"}}}},
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "방"},
        {"name": "a", "count": 9.0, "kind": "b", "maybe": None, "list": [{"id": 1.5}]},
        {"name": "a", "either": "x"},
        {"name": "a", "either": {"x": 1}, "both": 1.5, "fixed": {"a": 1}},
    ],
)
def test_arguments_that_fit_the_schema_pass(arguments: dict[str, Any]) -> None:
    check(arguments, SCHEMA)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "name is required."),
        ({"name": 1}, "name must be of the type string."),
        ({"name": ""}, "name must have at least 1 characters."),
        ({"name": "abcd"}, "name must have at most 3 characters."),
        ({"name": "a", "count": 0}, "count is below 1."),
        ({"name": "a", "count": 10}, "count is above 9."),
        ({"name": "a", "count": 1.5}, "count must be of the type integer."),
        ({"name": "a", "count": True}, "count must be of the type integer."),
        ({"name": "a", "kind": "c"}, 'kind must be one of ["a", "b"].'),
        ({"name": "a", "maybe": 1}, "maybe must be of the type string or null."),
        ({"name": "a", "list": []}, "list must have at least 1 items."),
        ({"name": "a", "list": [{}, {"id": "x"}]}, "list.1.id must be of the type number."),
        ({"name": "a", "either": {}}, "either has none of the allowed forms."),
        ({"name": "a", "both": 3}, "both is above 2."),
        ({"name": "a", "fixed": {"a": 2}}, 'fixed must be one of [{"a": 1}].'),
        ({"name": "a", "more": 1}, "more is not allowed."),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(WrongArguments) as wrong:
        check(arguments, SCHEMA)

    assert str(wrong.value) == problem


SILLY: list[Any] = [
    {"type": "strange"},
    {"type": 7},
    {"type": []},
    {"type": [{}]},
    {"properties": []},
    {"properties": {"a": 7}},
    {"required": "a"},
    {"required": [1, {}]},
    {"enum": 7},
    {"items": 7},
    {"anyOf": 7},
    {"anyOf": []},
    {"allOf": {"a": 1}},
    {"minimum": "1"},
    {"$ref": 7},
    {"$ref": "https://schemas.example/a"},
    {"$ref": "#/$defs/missing"},
    {"additionalProperties": "no"},
    {"pattern": "(a+)+$", "properties": {"a": {"pattern": "(a+)+$"}}},
]


@pytest.mark.parametrize("schema", SILLY)
def test_what_a_schema_says_in_an_unknown_way_is_ignored(schema: dict[str, Any]) -> None:
    check({"a": "a" * 40 + "b"}, schema)


def _alternatives(depth: int) -> dict[str, Any]:
    """Return a schema whose alternatives double with each level, and none of which fits."""
    levels: dict[str, Any] = {
        f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(depth)
    }
    return {"$ref": "#/$defs/l0", "$defs": levels | {f"l{depth}": {"type": "null"}}}


@pytest.mark.parametrize(
    "schema",
    [
        _alternatives(40),
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"additionalProperties": {"anyOf": [{"$ref": "#"}] * 100}},
    ],
)
def test_no_schema_takes_long(schema: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"a": {"b": [{}] * 5_000}}
    began = time.process_time()

    check(arguments, schema)

    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"enum": [*range(10_000), "x"]}}, ["x"] * 10_000),
        ({"items": {"type": ["string"] * 6_000 + ["null"]}}, [None] * 10_000),
        ({"items": {"required": [0] * 20_000}}, [{}] * 10_000),
        ({"allOf": [{"const": [0] * 20_000}] * 2_000}, [0] * 20_000),
        ({"allOf": [{"anyOf": [{"enum": [[0] * 20_000]}, {}]}] * 2_000}, 1),
        ({"allOf": [{"$ref": "#" + "/" * 60_000}] * 2_000}, 1),
    ],
)
def test_long_lists_of_a_schema_are_refused_before_they_take_long(
    schema: dict[str, Any], value: Any
) -> None:
    began = time.process_time()

    with pytest.raises(WrongArguments, match="too many values"):
        check({"a": value}, {"properties": {"a": schema}})

    assert time.process_time() - began < 1


def test_usual_lists_of_a_schema_are_compared_with_many_values() -> None:
    schema = {"properties": {"a": {"items": {"enum": [f"name {n}" for n in range(200)]}}}}

    check({"a": ["name 199"] * 400}, schema)
    with pytest.raises(WrongArguments, match="must be one of"):
        check({"a": ["name 199"] * 400 + ["name 200"]}, schema)
