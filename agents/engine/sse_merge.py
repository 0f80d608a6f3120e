"""The lines of a provider's events: fewer of them where they only add text, and none that misleads.

CrewAI takes an event that carries `usage` for one that carries nothing else. Several providers
send usage along with the last finish reason, some with every piece of text: both would be lost.
And it starts the call anew, text and all, when an error inside the stream speaks of rate limits.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from agents.engine import failures
from agents.engine.failures import Halt

BLANK: Final = (b"", b"\r")

_TELLS: Final = re.compile(rb'"(?:usage|error)"\s*+:\s*+(?!null)')


class _Addition(NamedTuple):
    """An event that adds text and tells nothing else: as it came, and decoded."""

    lines: list[bytes]
    event: Any

    @property
    def delta(self) -> Any:
        return self.event["choices"][0]["delta"]


class Lines:
    """Passes on the lines of one stream."""

    added = 0
    """Events so far that only added text."""
    joined = 0
    """Those of them that have become a part of the one before."""

    def __init__(self) -> None:
        self._inside = False

    def passed(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """Yield what to pass on for whole lines; neighbours that only add text become one event.

        Halt at an error, once what came before it has been passed on.
        """
        additions: list[_Addition] = []
        for event in _events(lines):
            begun, self._inside = self._inside, event[-1] not in BLANK
            whole = not begun and not self._inside
            if whole and len(event) == 2 and (addition := _addition(event)):
                additions.append(addition)
                continue
            yield from self._join(additions)
            additions = []
            yield _ended(map(_mended, event))
        yield from self._join(additions)

    def _join(self, additions: list[_Addition]) -> Iterator[bytes]:
        if not additions:
            return
        self.added += len(additions)
        self.joined += len(additions) - 1
        first = additions[0]
        if len(additions) == 1:
            yield _ended(first.lines)
            return
        first.delta["content"] = "".join(addition.delta["content"] for addition in additions)
        yield b"data: %b\n\n" % msgspec.json.encode(first.event)


def _ended(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _events(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Cut lines behind each blank one; what is left at the end has not ended yet."""
    event: list[bytes] = []
    for line in lines:
        event.append(line)
        if line in BLANK:
            yield event
            event = []
    if event:
        yield event


def _addition(lines: list[bytes]) -> _Addition | None:
    """Return the event of this one line if all that it tells is text of the first choice."""
    if b'"content"' not in lines[0] or _TELLS.search(lines[0]):
        return None
    match event := _decoded(lines[0]):
        case {"choices": [{"delta": {"content": str(text), **others}, **choice}]} if text:
            others.pop("role", None)
            more = any(choice.values()) or any(others.values())  # none for the first choice, 0
            return None if more else _Addition(lines, event)
    return None


def _mended(line: bytes) -> bytes:
    """Two events for one that carries both choices and usage; any other line as it is."""
    if not line.startswith(b"data:") or not _TELLS.search(line):
        return line
    event = _decoded(line)
    if not isinstance(event, dict):
        return line
    if error := event.get("error"):
        raise Halt(failures.of_error(error))
    if not event.get("usage") or not event.get("choices"):
        return line
    text, counted = event | {"usage": None}, event | {"choices": []}
    return b"data: %b\n\ndata: %b" % (msgspec.json.encode(text), msgspec.json.encode(counted))


def _decoded(line: bytes) -> Any:
    """Return what a line of data holds; None where that is nothing we can read."""
    if not line.startswith(b"data:"):
        return None
    try:
        return msgspec.json.decode(line[5:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
