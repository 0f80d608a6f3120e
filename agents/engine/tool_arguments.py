"""Reads and checks the arguments of a tool call.

A library for JSON schemas is not used: the schemas of MCP servers are untrusted, and a pattern or
nested alternatives of a schema can take minutes on the event loop. This check knows the
keywords that models get wrong, counts its steps, and lets other keywords pass to the tool.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeGuard

from agents.engine.stream.surrogates import join_surrogates
from agents.tool_types import MAX_ARGUMENTS

MAX_STEPS: Final = 100_000
VALUE_STEPS: Final = 10
"""A value takes as long as the comparison with about so many entries of a list."""
MAX_DEPTH: Final = 64
"""Levels of nested values; the decoders of other programs have lower limits than Python's."""
MAX_LISTED: Final = 20
TOO_MANY: Final = "There are too many values to check. Send fewer at once."
TOO_LONG: Final = f"The arguments are longer than {MAX_ARGUMENTS} characters."
_BOUNDS: Final[Mapping[type, tuple[str, str, str]]] = {
    str: ("minLength", "maxLength", " characters"),
    list: ("minItems", "maxItems", " items"),
}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value == value // 1,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


class WrongArguments(ValueError):
    """The arguments cannot be used; the text says why, in words for the model."""


class _TooManyEntries(Exception):
    """The lists of the schema are too long to compare these arguments with them."""


def read(text: str) -> tuple[str, dict[str, Any]]:
    """Return the arguments as JSON that can be stored and shown, and as a dict.

    No text, and `null`, are no arguments. Raise WrongArguments.
    """
    if len(text) > MAX_ARGUMENTS:
        raise WrongArguments(TOO_LONG)
    try:
        # Some models write line breaks inside of strings, which strict JSON forbids.
        value = json.loads(text, strict=False) if text.strip() else {}
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise WrongArguments("The arguments are not valid JSON.") from None
    if value is None:
        return "{}", {}
    if not isinstance(value, dict):
        raise WrongArguments("The arguments are not a JSON object.")
    if _depth(value) > MAX_DEPTH:
        raise WrongArguments("The arguments are nested too deeply.")
    written = join_surrogates(written)  # a provider may split a pair over two fragments
    if len(written) > MAX_ARGUMENTS:
        raise WrongArguments(TOO_LONG)
    # What is executed is read from the text that is stored, and shown to the people who decide.
    return written, json.loads(written)


def check(arguments: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise WrongArguments for the first value that does not fit the JSON schema.

    Arguments are refused, too, if comparing them with the lists of the schema takes too long.
    """
    try:
        with suppress(RecursionError):  # a schema may refer to itself
            _Check(schema).value(arguments, schema, "")
    except _TooManyEntries:
        raise WrongArguments(TOO_MANY) from None


def _depth(value: Any) -> int:
    return sum(1 for _ in _levels(value))


def _size(value: Any) -> int:
    """Return the number of values in a value, itself included."""
    return sum(len(level) for level in _levels(value))


def _levels(value: Any) -> Iterator[list[Any]]:
    level = [value]
    while level:
        yield level
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]


class _Check:
    """One check. Values beyond MAX_STEPS pass; lists of the schema beyond it end the check."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._steps = 0

    def value(self, value: Any, schema: Any, path: str) -> None:
        """Check a value; `path` is where it is, for example `items.0.name`."""
        self._steps += VALUE_STEPS
        if schema is False:
            raise _wrong(path, "is not allowed")
        if self._steps > MAX_STEPS or not isinstance(schema, Mapping):
            return
        if isinstance(reference := schema.get("$ref"), str):
            self._count(reference.count("/"))
            self.value(value, self._resolve(reference), path)
        self._type(value, schema, path)
        self._choices(value, schema, path)
        _check_bounds(value, schema, path)
        self._alternatives(value, schema, path)
        if isinstance(value, dict):
            self._object(value, schema, path)
        elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
            for index, item in enumerate(value):
                self.value(item, items, _join(path, str(index)))

    def _count(self, entries: int) -> None:
        """Count the entries of a list of the schema, before they are compared."""
        if entries <= VALUE_STEPS:
            return  # counted with the value
        self._steps += entries
        if self._steps > MAX_STEPS:
            raise _TooManyEntries

    def _type(self, value: Any, schema: Mapping[str, Any], path: str) -> None:
        wanted = schema.get("type")
        names: list[Any] = wanted if isinstance(wanted, list) else [wanted]
        self._count(len(names))
        known = all(isinstance(name, str) and name in _TYPES for name in names)
        if known and names and not any(_TYPES[name](value) for name in names):
            raise _wrong(path, f"must be of the type {' or '.join(names)}")

    def _choices(self, value: Any, schema: Mapping[str, Any], path: str) -> None:
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if not isinstance(choices, list):
            return
        # Each comparison may read all of the value.
        self._count(len(choices) * _size(value))
        if value not in choices:
            listed = json.dumps(choices[:MAX_LISTED], ensure_ascii=False)
            self._count(len(listed) // 4)  # alternatives write it again and again
            raise _wrong(path, f"must be one of {listed}")

    def _alternatives(self, value: Any, schema: Mapping[str, Any], path: str) -> None:
        for name in ("anyOf", "oneOf"):
            options = schema.get(name)
            if isinstance(options, list) and options and not self._fits_any(value, options, path):
                raise _wrong(path, "has none of the allowed forms")
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) else ():
            self.value(value, part, path)

    def _fits_any(self, value: Any, options: list[Any], path: str) -> bool:
        for option in options:
            try:
                self.value(value, option, path)
            except WrongArguments:
                continue
            return True
        return False

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], path: str) -> None:
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        self._count(len(required))
        for name in required:
            if isinstance(name, str) and name not in value:
                raise _wrong(_join(path, name), "is required")
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        # A name may also be allowed by a pattern, which is not checked.
        other = True if "patternProperties" in schema else schema.get("additionalProperties", True)
        for name, inner in value.items():
            self.value(inner, known.get(name, other), _join(path, name))

    def _resolve(self, reference: str) -> Any:
        """Return the part of the schema that a local reference names; True if there is none."""
        found: Any = self._root
        if not reference.startswith("#"):
            return True
        for step in reference.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name, True) if isinstance(found, Mapping) else True
        return found


def _check_bounds(value: Any, schema: Mapping[str, Any], path: str) -> None:
    size = value if _is_number(value) else len(value) if isinstance(value, str | list) else None
    least, most, unit = _BOUNDS.get(type(value), ("minimum", "maximum", ""))
    if size is None:
        return
    if _is_number(lower := schema.get(least)) and size < lower:
        raise _wrong(path, f"must have at least {lower}{unit}" if unit else f"is below {lower}")
    if _is_number(upper := schema.get(most)) and size > upper:
        raise _wrong(path, f"must have at most {upper}{unit}" if unit else f"is above {upper}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _wrong(path: str, problem: str) -> WrongArguments:
    return WrongArguments(f"{path[:100] or 'The object'} {problem[:200]}.")
