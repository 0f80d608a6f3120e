"""Parses server-sent events (WHATWG HTML §9.2), also in the forms that providers really send.

In five points the parser accepts more than the specification, where the strict reading would lose
words of an answer:

1. White space before a field name, and the case of its letters, are ignored.
2. JSON that is complete is an event by itself: some gateways send no blank lines.
3. A line that begins with `{` or `[` is data: a JSON answer, or a JSON error, without `data:`.
4. A line without a field name continues JSON that is not complete: pretty-printed JSON.
5. The end of the stream ends the last line and the last event.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

BOM: Final = b"\xef\xbb\xbf"
JSON_STARTS: Final = (b"{", b"[")
PLAIN_START: Final = b"data: {"
FIELDS: Final = (b"event", b"id", b"retry")


class EventTooLarge(ValueError):
    """One event, or one line, is larger than `max_event_bytes`."""


class SseEvent(NamedTuple):
    """One event; `complete` is False if the end of the stream ended it."""

    data: bytes
    type: str = "message"
    last_id: str = ""
    complete: bool = True


class SseParser:
    """Splits the bytes of one stream into events; the bytes may be cut anywhere.

    `retry` is the last reconnection time in milliseconds, `unknown_lines` the number of lines that
    were no field and no part of JSON.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self.retry: int | None = None
        self.unknown_lines = 0
        self._max_event_bytes = max_event_bytes
        self._head: bytes | None = b""  # the first bytes, until a BOM is complete or excluded
        self._after_cr = False
        self._partial: list[bytes] = []  # fragments of the line that has not ended
        self._partial_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._type = b""
        self._last_id = b""
        self._nesting = _JsonNesting()

    def feed(self, data: bytes) -> Iterator[SseEvent]:
        """Yield the events that end in these bytes. Raise EventTooLarge after the events before."""
        if self._head is not None:
            data, self._head = self._head + data, None
            if len(data) < len(BOM) and BOM.startswith(data):
                self._head = data
                return
            data = data.removeprefix(BOM)
        if self._is_plain(data):
            yield SseEvent(data[len(PLAIN_START) - 1 : -2], last_id=_text(self._last_id))
            return
        yield from self._take(data)
        # Point 2, without waiting for the next line.
        if self._data and data[-1:] in b"\r\n" and self._json_is_complete():
            yield self._take_event()

    def finish(self) -> Iterator[SseEvent]:
        """Yield the events that the end of the stream ends (point 5)."""
        data, self._head = self._head or b"", None
        yield from self._take(data + b"\n")
        if self._data:
            yield self._take_event(complete=False)

    def _is_plain(self, data: bytes) -> bool:
        """Return True if the bytes are one whole event of one line: it needs no state.

        Nearly all events of an answer arrive like this, so only the speed depends on this method.
        """
        return (
            data.startswith(PLAIN_START)
            and data.endswith(b"\n\n")
            and data.index(b"\n") == len(data) - 2
            and b"\r" not in data
            and len(data) <= self._max_event_bytes
            and not (self._partial_bytes or self._data or self._type or self._after_cr)
        )

    def _take(self, data: bytes) -> Iterator[SseEvent]:
        """Split at LF, CR and CRLF (§9.2.5). A CR at the end is a line end at once."""
        if not data:
            return
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        if lines:  # join only complete lines: joining at each call would take quadratic time
            lines[0] = b"".join([*self._partial, lines[0]])
            self._partial = []
            self._partial_bytes = 0
        self._partial.append(rest)
        self._partial_bytes += len(rest)
        for line in lines:
            if event := self._take_line(line):
                yield event
        self._check_size(self._partial_bytes)

    def _take_line(self, line: bytes) -> SseEvent | None:
        """Handle one line (§9.2.6); return the event that it ends."""
        field, colon, value = line.partition(b":")
        name = field.strip().lower()
        if not name:
            if colon:
                return None  # a comment
            event = self._take_event() if self._data else None
            self._type = b""
            return event
        if name == b"data":
            return self._add_data(value.removeprefix(b" "))
        if name in FIELDS:
            self._set_field(name, value.removeprefix(b" "))
        elif self._json_is_open():
            self._append(line)
        elif line.lstrip().startswith(JSON_STARTS):
            return self._add_data(line)
        else:
            self.unknown_lines += 1
        return None

    def _set_field(self, name: bytes, value: bytes) -> None:
        if name == b"event":
            self._type = value
        elif name == b"id" and b"\0" not in value:
            self._last_id = value
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value)

    def _add_data(self, value: bytes) -> SseEvent | None:
        """Append a data line; return the event before it, if the line begins another (point 2)."""
        ended = None
        if self._data and (
            self._json_is_complete()
            or (value.lstrip().startswith(JSON_STARTS) and not self._json_is_open())
        ):
            ended = self._take_event()
        self._append(value)
        return ended

    def _append(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value) + 1
        self._check_size(0)

    def _take_event(self, *, complete: bool = True) -> SseEvent:
        data = b"\n".join(self._data)
        self._data = []
        self._data_bytes = 0
        self._nesting = _JsonNesting()
        return SseEvent(data, _text(self._type) or "message", _text(self._last_id), complete)

    def _json_is_open(self) -> bool:
        return bool(self._data) and self._nesting.follow(self._data) > 0

    def _json_is_complete(self) -> bool:
        return self._nesting.follow(self._data) == 0 and self._nesting.is_json

    def _check_size(self, more: int) -> None:
        if self._data_bytes + more > self._max_event_bytes:
            raise EventTooLarge


class _JsonNesting:
    """Follows the nesting of JSON over the lines of one event, each line once."""

    def __init__(self) -> None:
        self.is_json = False
        self._depth = 0
        self._in_string = False
        self._lines = 0

    def follow(self, lines: list[bytes]) -> int:
        """Return the number of open objects, arrays and strings; 0 for data that is no JSON."""
        if not self._lines:
            self.is_json = lines[0].lstrip().startswith(JSON_STARTS)
        if self.is_json:
            for line in lines[self._lines :]:
                self._add(line)
        self._lines = len(lines)
        return max(self._depth, 0) + self._in_string

    def _add(self, line: bytes) -> None:
        # Without a loop in Python: a line may have 1 MiB, and the event loop waits.
        parts = line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[self._in_string :: 2])
        self._depth += outside.count(b"{") + outside.count(b"[")
        self._depth -= outside.count(b"}") + outside.count(b"]")
        self._in_string ^= len(parts) % 2 == 0


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
