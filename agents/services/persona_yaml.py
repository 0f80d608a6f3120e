"""Reads personas from YAML: the `agents.yaml` and `tasks.yaml` of CrewAI, or a list of our own.

A text of a user is read from the events of the parser, which does not nest and does not copy: no
value is constructed from a tag, every scalar is a text, and depth, size and aliases are limited.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from django.utils.translation import gettext as _

from accounts.errors import Invalid, TooLarge
from accounts.names import clean_handle, handle_for

MAX_BYTES: Final = 256 * 1024
MAX_PERSONAS: Final = 50
"""The personas of one import."""
MAX_EVENTS: Final = 10_000
MAX_ALIASES: Final = 50
MAX_DEPTH: Final = 10
MAX_ENTRY: Final = 80
"""The characters of the name of an entry that count."""
MAX_TEXT: Final = 8_000
"""The characters of the longest field of a persona. Aliases can make many texts of a long one."""
MAX_NAMED: Final = 20
"""The fields of an entry that are reported as ignored."""
MAX_TASKS: Final = 100

TEXTS: Final = ("role", "goal", "backstory", "instructions")
OWN: Final = (*TEXTS, "name", "handle", "model", "temperature", "max_output_tokens", "pigment")
FIELDS: Final = frozenset({*OWN, "lattice"})
FIELDS_OF_CREWAI: Final = frozenset({"role", "goal", "backstory"})
MERGE: Final = "<<"

Value = Any  # str | None | list[Value] | dict[str, Value]


@dataclass(frozen=True, slots=True)
class Draft:
    """A persona to be created: the name of its entry, for errors, and its fields.

    `handle` was derived from the name of the entry: if it is taken, another one does as well.
    `model` is a model that the entry asks for. `ignored` are the fields that a persona does not
    have.
    """

    entry: str
    fields: dict[str, str]
    handle: str = ""
    model: str = ""
    ignored: list[str] = field(default_factory=list)


def read_personas(agents: str, tasks: str = "") -> tuple[list[Draft], bool]:
    """Return the personas of a text in their order, and True if the tasks give the order.

    With `tasks`, a `tasks.yaml` of CrewAI, the personas come in the order of their first tasks,
    then those without a task; the descriptions of its tasks become instructions of a persona.
    Raises TooLarge, or Invalid, which names the entries that are wrong.
    """
    entries = [(name[:MAX_ENTRY], values) for name, values in _entries(_load(agents, "agents"))]
    if not entries:
        raise _wrong("agents", _("There are no personas in this text."))
    if len(entries) > MAX_PERSONAS:
        raise _wrong("agents", _("At most 50 personas can be imported at a time."))
    mistakes: dict[str, str] = {}
    drafts = {entry: _draft(entry, values, mistakes) for entry, values in entries}
    if len(drafts) < len(entries):
        raise _wrong("agents", _("Two personas have the same name. Change one of them."))
    order = _add_tasks(drafts, tasks, mistakes) if tasks.strip() else []
    if mistakes:
        raise Invalid(next(iter(mistakes.values())), fields=mistakes)
    others = [entry for entry in drafts if entry not in order]
    return [drafts[entry] for entry in (*order, *others)], bool(order)


def _entries(document: Value) -> list[tuple[str, Value]]:
    """Return the entries of a document with their names, in one of the forms that are known."""
    if isinstance(document, Mapping) and isinstance(document.get("personas"), list):
        document = document["personas"]
    if isinstance(document, Mapping):  # CrewAI: the name of each agent, and its fields
        return list(document.items())
    if isinstance(document, list):
        return [(_entry_name(values, place), values) for place, values in enumerate(document, 1)]
    raise _wrong("agents", _("Expected a list of personas, or the agents.yaml of CrewAI."))


def _entry_name(values: Value, place: int) -> str:
    named = values if isinstance(values, Mapping) else {}
    name = named.get("handle") or named.get("name")
    return name if isinstance(name, str) and name.strip() else str(place)


def _draft(entry: str, values: Value, mistakes: dict[str, str]) -> Draft:
    if not isinstance(values, Mapping):
        mistakes[entry] = _("Expected fields such as role and goal.")
        return Draft(entry, {})
    is_own = "name" in values or "handle" in values
    known = FIELDS if is_own else FIELDS_OF_CREWAI
    fields = {} if is_own else {"name": _name_for(entry)}
    for name in known & values.keys():
        value = values[name]
        if value is not None and not isinstance(value, str):
            mistakes[f"{entry}.{name}"] = _("Expected a text.")
        elif value and len(value) > MAX_TEXT:
            mistakes[f"{entry}.{name}"] = _too_long()
        fields[name] = value if isinstance(value, str) else ""
    model = fields.pop("model", "") if is_own else values.get("llm")
    unknown = values.keys() - known - ({"llm"} if isinstance(model, str) else set())
    ignored = [name[:MAX_ENTRY] for name in sorted(unknown)[:MAX_NAMED]]
    return Draft(
        entry,
        fields,
        handle="" if is_own else clean_handle(entry) or handle_for(entry) or "persona",
        model=model if isinstance(model, str) else "",
        ignored=ignored,
    )


def _name_for(entry: str) -> str:
    """Return the name for an agent of CrewAI: `senior_writer` is Senior writer."""
    words = " ".join(entry.replace("_", " ").replace("-", " ").split())
    return words[:1].upper() + words[1:]


def _add_tasks(drafts: Mapping[str, Draft], tasks: str, mistakes: dict[str, str]) -> list[str]:
    """Add the tasks to the instructions of their personas; return these in the order of tasks."""
    found = _load(tasks, "tasks")
    if not isinstance(found, Mapping):
        raise _wrong("tasks", _("Expected the tasks.yaml of CrewAI."))
    if len(found) > MAX_TASKS:
        raise _wrong("tasks", _("At most 100 tasks can be imported at a time."))
    order: dict[str, None] = {}
    for task, values in found.items():
        wanted = values.get("agent") if isinstance(values, Mapping) else None
        if not isinstance(wanted, str) or wanted not in drafts:
            mistakes[f"tasks.{task[:MAX_ENTRY]}.agent"] = _(
                "Expected the name of one of the personas."
            )
            continue
        order[wanted] = None
        fields = drafts[wanted].fields
        text = "\n".join(_task_lines(values))
        fields["instructions"] = f"{fields.get('instructions', '')}\n\n{text}".strip()
        if len(fields["instructions"]) > MAX_TEXT:
            mistakes[f"{wanted}.instructions"] = _too_long()
            fields["instructions"] = ""
    return list(order)


def _too_long() -> str:
    return _("Use at most %(limit)s characters.") % {"limit": MAX_TEXT}


def _task_lines(values: Mapping[str, Value]) -> Iterator[str]:
    description, expected = values.get("description"), values.get("expected_output")
    if isinstance(description, str):
        yield description.strip()
    if isinstance(expected, str) and expected.strip():
        yield _("Expected answer: %(text)s") % {"text": expected.strip()}


def _load(text: str, place: str) -> Value:
    """Return the value of a YAML document. Raises TooLarge or Invalid, which names `place`."""
    try:
        if len(text.encode()) > MAX_BYTES:
            raise TooLarge(_("The text is longer than 256 KB. Import fewer personas at a time."))
        return _Reader(text).read()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        sentence = _("Line %(line)s is not valid YAML. Correct it.") % {"line": line}
        raise _wrong(place, sentence) from None
    except (yaml.YAMLError, UnicodeError):
        raise _wrong(place, _("This is not valid YAML. Correct it.")) from None
    except _Refused as refused:
        raise _wrong(place, str(refused)) from None


class _Refused(Exception):
    """The document is valid YAML, and is not read; its text is a sentence."""


class _Reader:
    """Builds a value from the events of a document, with the limits of this module."""

    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=yaml.CBaseLoader)
        self._anchors: dict[str, Value] = {}
        self._left = MAX_EVENTS
        self._aliases_left = MAX_ALIASES

    def read(self) -> Value:
        """Return the value of the only document; None for an empty text."""
        self._next()  # the start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), MAX_DEPTH)
        self._next()  # the end of the document
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise _Refused(_("The text has several documents. Import one at a time."))
        return value

    def _next(self) -> Any:  # Any: the events are typed as one class
        self._left -= 1
        if self._left < 0:
            raise _Refused(_("The text has too many values. Import fewer personas at a time."))
        return next(self._events)

    def _value(self, event: Any, depth: int) -> Value:
        if depth < 0:
            raise _Refused(_("The text is nested too deeply."))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "")
        if isinstance(event, yaml.ScalarEvent):
            is_null = _is_plain(event) and event.value in ("", "~", "null")
            value: Value = None if is_null else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._list(depth)
        else:
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _alias(self, anchor: str) -> Value:
        self._aliases_left -= 1
        if self._aliases_left < 0:
            raise _Refused(_("The text has more than 50 aliases. Write the values instead."))
        if anchor not in self._anchors:  # also an alias inside the value that it names
            raise _Refused(_("The alias %(name)s has no value.") % {"name": anchor[:40]})
        return self._anchors[anchor]

    def _list(self, depth: int) -> list[Value]:
        values = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            values.append(self._value(event, depth - 1))
        return values

    def _mapping(self, depth: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._value(event, depth - 1)
            value = self._value(self._next(), depth - 1)
            if not isinstance(key, str):
                raise _Refused(_("The name of a value must be a text."))
            if key in values:
                raise _Refused(_("The name %(name)s occurs twice.") % {"name": key[:40]})
            if key == MERGE and _is_plain(event):
                for each in value if isinstance(value, list) else [value]:
                    merged = (each if isinstance(each, dict) else {}) | merged
            else:
                values[key] = value
        return merged | values


def _is_plain(event: Any) -> bool:
    """Return True for a scalar without quotes and without a tag."""
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0]


def _wrong(place: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={place: sentence})
