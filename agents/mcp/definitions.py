"""The definitions of tools, as a server lists them: checked, bounded, and named by a hash.

What a definition says is the claim of its server. It is data for people and models, never a rule.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.untrusted_text import storable

MAX_TOOLS: Final = 100
MAX_DESCRIPTION_BYTES: Final = 8 * 1024
MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_SCHEMA_DEPTH: Final = 32
MAX_SCHEMA_LIST: Final = 200
MAX_REMOTE_NAME: Final = 128
MAX_TITLE: Final = 80
MAX_NAME: Final = 64
"""The length of a name that providers accept for a function."""

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PATTERN_KEYWORDS: Final = frozenset({"pattern", "patternProperties"})
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


@dataclass(frozen=True, slots=True)
class Definition:
    """One tool of a server. `sha256` is the hash of all that the server says about it."""

    name: str
    title: str
    description: str
    parameters: dict[str, Any]
    read_only: bool
    idempotent: bool
    sha256: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The tools of a server; `left_out` are the names of tools that broke a limit."""

    tools: tuple[Definition, ...]
    left_out: tuple[str, ...] = ()


class Refused(Exception):
    """The definition breaks a limit."""


def read_listing(tools: Iterable[Mapping[str, Any]]) -> Listing:
    """Return the definitions of the tools in a `tools/list` result, the first MAX_TOOLS of them.

    A tool is left out if its definition breaks a limit, or if its name occurs twice.
    """
    found: dict[str, Definition] = {}
    left_out: list[str] = []
    for tool in tools:
        try:
            definition = read_definition(tool)
        except Refused:
            left_out.append(_shown_name(tool.get("name")))
            continue
        if definition.name in found or len(found) >= MAX_TOOLS:
            left_out.append(_shown_name(definition.name))
        else:
            found[definition.name] = definition
    return Listing(tuple(found.values()), tuple(left_out[:MAX_TOOLS]))


def read_definition(tool: Mapping[str, Any]) -> Definition:
    """Return the definition of a tool, or raise Refused."""
    name, description = tool.get("name"), tool.get("description") or ""
    schema, annotations = tool.get("inputSchema"), tool.get("annotations") or {}
    if not isinstance(name, str) or not 0 < len(name) <= MAX_REMOTE_NAME or not name.isprintable():
        raise Refused
    if not isinstance(description, str) or not isinstance(annotations, Mapping):
        raise Refused
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise Refused
    title = tool.get("title") or annotations.get("title") or name
    said = {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": schema,
        "annotations": annotations,
    }
    try:
        canonical = json.dumps(said, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        if len(description.encode()) > MAX_DESCRIPTION_BYTES or not isinstance(title, str):
            raise Refused
        parameters = clean_schema(schema)
    except (TypeError, ValueError, RecursionError):  # also UnicodeError: a lone surrogate
        raise Refused from None
    return Definition(
        name=name,
        title=one_line(title, MAX_TITLE) or name,
        description=clean_lines(description),
        parameters=parameters,
        read_only=annotations.get("readOnlyHint") is True,
        idempotent=annotations.get("idempotentHint") is True,
        sha256=hashlib.sha256(canonical.encode()).hexdigest(),
    )


def clean_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema without patterns; raise Refused if it is too large or refers elsewhere.

    Arguments are checked against it in the event loop of a worker, and a pattern can take years.
    A keyword with more than MAX_SCHEMA_LIST entries is left out, for example a long `enum`: the
    server itself checks such values. A reference to another document would be a request of this
    server.
    """
    if len(json.dumps(schema, ensure_ascii=False).encode()) > MAX_SCHEMA_BYTES:
        raise Refused
    cleaned = _clean(schema, 0, is_schema=True)
    assert isinstance(cleaned, dict)
    return cleaned


def _clean(value: object, depth: int, *, is_schema: bool) -> object:
    """Copy a part of a schema; in a map of properties the keys are names, not keywords."""
    if depth > MAX_SCHEMA_DEPTH:
        raise Refused
    if isinstance(value, Mapping):
        copy = {}
        for name, part in value.items():
            key = storable(name)
            if is_schema and key in _REFERENCES and not str(part).startswith("#"):
                raise Refused
            if is_schema and _is_dropped(key, part):
                continue
            names = is_schema and key in {"properties", "$defs", "definitions", "dependentSchemas"}
            copy[key] = _clean(part, depth + 1, is_schema=not names)
        return copy
    if isinstance(value, list):
        return [_clean(part, depth + 1, is_schema=is_schema) for part in value]
    return storable(value) if isinstance(value, str) else value


def _is_dropped(keyword: str, part: object) -> bool:
    if keyword in {"$id", "id", "$schema"}:
        return isinstance(part, str)  # an identifier changes what a reference means
    if isinstance(part, list) and len(part) > MAX_SCHEMA_LIST:
        return True
    return keyword in _PATTERN_KEYWORDS


def model_name(server: str, tool: str, taken: Iterable[str] = ()) -> str:
    """Return the name that a model sees: `SERVER_TOOL`, at most MAX_NAME of `[A-Za-z0-9_-]`.

    A name that is taken, or has lost characters, ends in a hash of the remote name.
    """
    clean_server = re.sub(r"[^A-Za-z0-9-]+", "-", server).strip("-").lower()[:24] or "tools"
    clean_tool = re.sub(r"[^A-Za-z0-9_-]+", "_", tool).strip("_")
    name = f"{clean_server}_{clean_tool}"
    if clean_tool != tool or len(name) > MAX_NAME or name in set(taken):
        mark = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:8]
        name = f"{name[: MAX_NAME - 9]}_{mark}"
    return name


def clean_lines(text: str) -> str:
    """Return the text without control characters, except tab and line feed."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str, length: int) -> str:
    """Return the printable characters of the text, at most `length` of them.

    Only the start of a text of megabytes is read: this may run on the event loop.
    """
    start = text[: 8 * length]
    printable = "".join(character if character.isprintable() else " " for character in start)
    return " ".join(printable.split())[:length]


def _shown_name(name: object) -> str:
    return one_line(name, MAX_TITLE) if isinstance(name, str) else ""
