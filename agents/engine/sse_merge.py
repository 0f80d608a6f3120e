"""Rewrites the provider's events: merges text events, and works around two faults of CrewAI.

1. CrewAI reads only the usage from an event that has `usage`. Several providers send usage in the
   same event as the finish reason or the text, which CrewAI would lose. So this module splits the
   event in two.
2. If an error inside the stream mentions rate limits, CrewAI restarts the call and would repeat the
   text. So an error event aborts the call here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from agents.engine import failures
from agents.engine.failures import CallAborted

BLANK_LINES: Final = (b"", b"\r")

_USAGE_OR_ERROR: Final = re.compile(rb'"(?:usage|error)"\s*+:\s*+(?!null)')


class _TextEvent(NamedTuple):
    """An event that adds text to the first choice and has no other content."""

    lines: list[bytes]
    decoded: Any

    @property
    def delta(self) -> Any:
        return self.decoded["choices"][0]["delta"]


class EventMerger:
    """Merges adjacent text events of one stream; passes on every other event unchanged, in order.

    `text_events` is the number of text events so far, `merged` the number of text events that were
    merged into another event.
    """

    def __init__(self) -> None:
        self.text_events = 0
        self.merged = 0
        self._inside_event = False

    def merge(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the events for these complete lines (without their LF).

        Raise CallAborted at an error event, after the events before it have been yielded.
        """
        text_events: list[_TextEvent] = []
        for event in _split_events(lines):
            continued, self._inside_event = self._inside_event, event[-1] not in BLANK_LINES
            complete = not continued and not self._inside_event
            if complete and len(event) == 2 and (text_event := _parse_text_event(event)):
                text_events.append(text_event)
                continue
            yield from self._join(text_events)
            text_events = []
            yield _encode(map(_split_usage, event))
        yield from self._join(text_events)

    def _join(self, events: list[_TextEvent]) -> Iterator[bytes]:
        """Yield one event: the JSON of the first event with the text of all events."""
        if not events:
            return
        self.text_events += len(events)
        self.merged += len(events) - 1
        first = events[0]
        if len(events) == 1:
            yield _encode(first.lines)
            return
        first.delta["content"] = "".join(event.delta["content"] for event in events)
        yield b"data: %b\n\n" % msgspec.json.encode(first.decoded)


def _encode(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _split_events(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split after each blank line, which ends an event (WHATWG HTML §9.2.6).

    The last event may be incomplete.
    """
    event: list[bytes] = []
    for line in lines:
        event.append(line)
        if line in BLANK_LINES:
            yield event
            event = []
    if event:
        yield event


def _parse_text_event(lines: list[bytes]) -> _TextEvent | None:
    """Return the event of one `data` line if it only adds text to the first choice, else None."""
    if b'"content"' not in lines[0] or _USAGE_OR_ERROR.search(lines[0]):
        return None
    match decoded := _decode_data(lines[0]):
        case {"choices": [{"delta": {"content": str(text), **fields}, **choice}]} if text:
            fields.pop("role", None)
            # `choice` still has its index, which is 0 (false) for the first choice.
            if not any(choice.values()) and not any(fields.values()):
                return _TextEvent(lines, decoded)
    return None


def _split_usage(line: bytes) -> bytes:
    """Return two events for a `data` line with both choices and usage; else the line unchanged.

    Raise CallAborted for a line with an error.
    """
    if not line.startswith(b"data:") or not _USAGE_OR_ERROR.search(line):
        return line
    event = _decode_data(line)
    if not isinstance(event, dict):
        return line
    if error := event.get("error"):
        raise CallAborted(failures.from_error(error))
    if not event.get("usage") or not event.get("choices"):
        return line
    text, usage = event | {"usage": None}, event | {"choices": []}
    return b"data: %b\n\ndata: %b" % (msgspec.json.encode(text), msgspec.json.encode(usage))


def _decode_data(line: bytes) -> Any:
    """Return the decoded JSON of a `data` line; None for other lines and for invalid JSON."""
    if not line.startswith(b"data:"):
        return None
    try:
        return msgspec.json.decode(line[5:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
