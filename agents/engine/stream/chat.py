"""Normalises the events of a chat completion: each provider's dialect becomes the same parts.

The format is that of OpenAI's `chat.completion.chunk`. Only choice 0 is the answer. Reasoning (the
fields `reasoning` and `reasoning_content`, thinking parts of `content`) is not part of it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from agents.engine.stream.json_data import UnreadableData, decode_data
from agents.engine.stream.other_formats import to_chunk, tool_use
from agents.engine.stream.sse import SseEvent
from agents.engine_types import MAX_TOKEN_COUNT, Usage

MAX_IGNORED: Final = 10_000
"""Events without meaning, for example heartbeats, that one stream may hold."""
MAX_ITEMS: Final = 1_000
"""Choices, parts of `content`, tool calls or errors in one list. Without a bound, the event loop
waits for more than a second while one event of 1 MiB is read."""
MAX_REASONING: Final = 64 * 1024
TEXT_PARTS: Final = ("text", "output_text", "text_delta", "refusal")
_DONE: Final = re.compile(r"\s*\[?done\]?\s*", re.IGNORECASE)
_PLAIN_CHUNK: Final = frozenset(
    (
        *("id", "object", "created", "model", "system_fingerprint"),
        *("service_tier", "obfuscation", "usage", "choices"),
    )
)
_PLAIN_CHOICE: Final = frozenset(("index", "delta", "finish_reason"))
_PLAIN_DELTA: Final = frozenset(("role", "content"))
_NO_REASON: Final = ("", "null", "none", "false")


class TextDelta(NamedTuple):
    """The next text of the answer."""

    text: str


class ToolCallDelta(NamedTuple):
    """A fragment of a tool call; `number` is its index, if the provider sends one.

    `arguments` is a piece of JSON. `extra` is what the provider wants back with the call.
    """

    number: int | None
    id: str | None
    name: str | None
    extra: Any
    arguments: str


class FinishReason(NamedTuple):
    """Why the model stopped, in the word of the provider."""

    reason: str


class StreamDone(NamedTuple):
    """The event `[DONE]`."""


class ErrorReport(NamedTuple):
    """An error that the provider reports: an HTTP status, if it names one, its codes, its text."""

    status: int | None = None
    words: tuple[str, ...] = ()
    message: str = ""


ChatPart = TextDelta | ToolCallDelta | Usage | ErrorReport | FinishReason | StreamDone


class ChatNormaliser:
    """Turns the events of one stream into parts.

    `understood` counts the objects that had a meaning, `ignored` the values that had none, and
    `unreadable` the ignored values that were no JSON. `reasoning` has the texts of the field
    `reasoning_content`, which DeepSeek wants back with tool calls; at most MAX_REASONING.
    """

    def __init__(self) -> None:
        self.understood = 0
        self.ignored = 0
        self.unreadable = 0
        self.reasoning: list[str] = []
        self._reasoning_length = 0
        self._has_delta_text = False
        self._has_delta_calls = False

    def feed(self, event: SseEvent) -> Iterator[ChatPart]:
        """Yield the parts of one event, its text first and its finish reason last.

        Raise UnreadableData if words may be lost: broken JSON, or choices of an unknown shape.
        """
        try:
            for value in decode_data(event.data):
                if text := _plain_text(value):
                    self.understood += 1
                    self._has_delta_text = True
                    yield TextDelta(text)
                else:
                    yield from self._take(value, event.type)
        except UnreadableData:
            if event.complete:
                raise
            # The stream was cut inside of this event.

    def _take(self, value: Any, event_type: str) -> Iterator[ChatPart]:
        if isinstance(value, dict):
            yield from self._normalise(value, event_type)
        elif isinstance(value, str) and _DONE.fullmatch(value):
            yield StreamDone()
        elif report := _error_in_other_value(value, event_type):
            yield report
        else:
            self._ignore()
            self.unreadable += value is not None and not _is_comment(value)

    def _normalise(self, value: dict[str, Any], event_type: str) -> Iterator[ChatPart]:
        if "choices" not in value:
            value = to_chunk(value) or value
        choice = _first_choice(value.get("choices"))
        report = error_report(value, event_type)
        usage = _usage(value, choice)
        if choice is None and report is None and usage is None and "choices" not in value:
            self._ignore()
            return
        self.understood += 1
        if choice is not None:
            yield from self._normalise_choice(choice)
            if report is None and choice.get("error"):
                report = error_report(choice, event_type)
        if usage is not None:
            yield usage
        if report is not None:
            yield report
        if choice is not None and (reason := _finish_reason(choice)):
            yield FinishReason(reason)

    def _normalise_choice(self, choice: dict[str, Any]) -> Iterator[ChatPart]:
        delta = choice.get("delta") or {}
        message = choice.get("message") or {}
        if isinstance(delta, str):
            delta = {"content": delta}
        if isinstance(message, str):
            message = {"content": message}
        if not isinstance(delta, dict) or not isinstance(message, dict):
            raise UnreadableData
        text = _answer_text(delta)
        if text:
            self._has_delta_text = True
        elif not self._has_delta_text:
            # After text in a delta, `message` repeats the whole answer so far.
            text = _answer_text(message) or _scalar_text(choice.get("text"))
        if text:
            yield TextDelta(text)
        self._keep_reasoning(delta.get("reasoning_content") or message.get("reasoning_content"))
        yield from self._calls(delta, message)

    def _keep_reasoning(self, text: object) -> None:
        if isinstance(text, str) and self._reasoning_length + len(text) <= MAX_REASONING:
            self.reasoning.append(text)
            self._reasoning_length += len(text)

    def _calls(self, delta: dict[str, Any], message: dict[str, Any]) -> list[ToolCallDelta]:
        if calls := _tool_calls(delta):
            self._has_delta_calls = True
            return calls
        return [] if self._has_delta_calls else _tool_calls(message)

    def _ignore(self) -> None:
        self.ignored += 1
        if self.ignored > MAX_IGNORED:
            raise UnreadableData


def _plain_text(value: Any) -> str | None:
    """Return the text of a chunk that holds nothing else, as nearly all chunks do; else None.

    Only a short cut: `_normalise` would return the same text.
    """
    if type(value) is not dict or value.get("usage") or not value.keys() <= _PLAIN_CHUNK:
        return None
    choices = value.get("choices")
    choice = choices[0] if type(choices) is list and len(choices) == 1 else None
    if (
        type(choice) is not dict
        or choice.get("finish_reason")
        or not choice.keys() <= _PLAIN_CHOICE
    ):
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or choice.get("index") or not delta.keys() <= _PLAIN_DELTA:
        return None
    text = delta.get("content")
    return text if type(text) is str else None


def error_report(value: dict[str, Any], event_type: str = "message") -> ErrorReport | None:
    """Return the error that an object reports, or None."""
    error: Any = value.get("error")
    no_choices = not value.get("choices")
    if not error and no_choices:
        status = _status(value)
        if (
            value.get("object") == "error"
            or value.get("type") == "error"
            or event_type == "error"
            or value.get("error_msg")
            or value.get("error_message")
            or (status and any(value.get(name) for name in ("message", "msg", "detail")))
        ):
            error = value
    if not error:
        return None
    if error is True:
        error = value
    if not isinstance(error, dict):
        # A plain sentence, or a code, beside which the object may have more fields.
        return ErrorReport(_status(value), _words(value), str(error)[:1000])
    inner = error.get("error")
    fields = error | inner if isinstance(inner, dict) else error
    names = ("message", "msg", "error_msg", "error_message", "detail")
    message = next((text for name in names if isinstance(text := fields.get(name), str)), "")
    return ErrorReport(_status(fields) or _status(value), _words(fields), message[:1000])


def _error_in_other_value(value: object, event_type: str) -> ErrorReport | None:
    """Return the error in a list (Gemini sends `[{"error": …}]`), or in an event named `error`."""
    if isinstance(value, list):
        _check_length(value)
        reports = (error_report(item) for item in value if isinstance(item, dict))
        return next((report for report in reports if report), None)
    if event_type == "error":
        return ErrorReport(message=str(value)[:1000])
    return None


def _check_length(items: list[Any]) -> None:
    if len(items) > MAX_ITEMS:
        raise UnreadableData


def _is_comment(value: object) -> bool:
    """Return True for blank text, and for a comment that a gateway has put into `data`."""
    return isinstance(value, str) and value.strip()[:1] in ("", ":")


def _status(fields: dict[str, Any]) -> int | None:
    """Return the first HTTP status of 300 or above among the fields that may hold one."""
    for name in ("code", "status", "status_code", "statusCode", "http_status", "http_code"):
        value = fields.get(name)
        text = str(value) if isinstance(value, str | int) else ""
        if len(text) == 3 and text.isdecimal() and 300 <= int(text) <= 599:
            return int(text)
    return None


def _words(fields: dict[str, Any]) -> tuple[str, ...]:
    names = ("code", "type", "status", "reason", "error_code", "error_type")
    return tuple(text for name in names if isinstance(text := fields.get(name), str))


def _first_choice(choices: object) -> dict[str, Any] | None:
    """Return choice 0; without an index, a choice has the index of its position."""
    if not choices:
        return None
    if not isinstance(choices, list):
        raise UnreadableData
    _check_length(choices)
    for position, choice in enumerate(choices):
        if choice is None:
            continue
        if not isinstance(choice, dict):
            raise UnreadableData
        index = choice.get("index")
        if (position if index is None else index) in (0, "0"):
            return choice
    return None


def _finish_reason(choice: dict[str, Any]) -> str:
    reason = choice.get("finish_reason") or choice.get("finishReason") or ""
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason") or ""
    text = str(reason).strip()
    return "" if text.lower() in _NO_REASON else text


def _answer_text(fields: dict[str, Any]) -> str:
    content = fields.get("content")
    if isinstance(content, list):
        _check_length(content)
        text = "".join(map(_part_text, content))
    elif isinstance(content, dict):
        text = _part_text(content)
    else:
        text = _scalar_text(content)
    refusal = fields.get("refusal")
    return text + refusal if isinstance(refusal, str) else text


def _part_text(part: object) -> str:
    """Return the text of one part of `content`; "" for thinking, images and unknown parts."""
    if not isinstance(part, dict):
        return _scalar_text(part)
    if (part.get("type") or "text") not in TEXT_PARTS:
        return ""
    text = part.get("text")
    if isinstance(text, dict):
        text = text.get("value")
    return _scalar_text(part.get("refusal") if text is None else text)


def _scalar_text(value: object) -> str:
    """Return a string, or the JSON of a number or truth value: a token that looked like one."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else ""


def _tool_calls(fields: dict[str, Any]) -> list[ToolCallDelta]:
    calls = fields.get("tool_calls") or []
    if function := fields.get("function_call"):  # the older form, with a single call
        calls = [{"function": function}]
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list):
        raise UnreadableData
    if isinstance(content := fields.get("content"), list):
        calls = [*calls, *filter(None, map(tool_use, content))]
    _check_length(calls)
    return [_tool_call(call) for call in calls if isinstance(call, dict)]


def _tool_call(call: dict[str, Any]) -> ToolCallDelta:
    function = call.get("function")
    if not isinstance(function, dict):
        function = {}
    # An empty object may stand for arguments that follow in pieces.
    arguments = function.get("arguments") or ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    index = call.get("index")
    return ToolCallDelta(
        index if isinstance(index, int) else None,
        _string(call.get("id")),
        _string(function.get("name")),
        call.get("extra_content"),  # Gemini: the signature of its thoughts
        arguments,
    )


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _usage(value: dict[str, Any], choice: dict[str, Any] | None) -> Usage | None:
    """Return the token counts, from any of the places where providers report them."""
    groq = value.get("x_groq")
    for holder in (value, choice, groq):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict) and usage:
            return Usage(
                _token_count(usage, "prompt_tokens", "input_tokens"),
                _token_count(usage, "completion_tokens", "output_tokens"),
            )
    return None


def _token_count(usage: dict[str, Any], *names: str) -> int:
    """Return the count of the first of these fields that has one, within the range of Usage."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and value > 0:  # NaN is not above 0
            return int(min(value, MAX_TOKEN_COUNT))
    return 0
