"""Bounds and cleans the results of tools, and words what the model reads of each call."""

import json
import re
from typing import Any, Final

from crewai.tools.tool_failure import ToolFailure

from agents.tool_types import MAX_RESULT, MAX_STORED_RESULT, ToolResult

MAX_SHORT: Final = 200
# Without line breaks and tabs: control characters, characters that reorder a line (UAX #9), and
# the tag characters, in which text can hide from people (Unicode 23.9). PostgreSQL stores no NUL.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)

DENIED: Final = "This call was not allowed, and was not executed."
UNKNOWN: Final = ToolResult(
    "The server stopped during this call. It is not known whether the call had an effect: do not"
    " repeat it unless you are asked to.",
    failed=True,
)


class NotText(TypeError):
    """A tool has returned something that is neither text nor JSON."""


def denied(decision: ToolResult | None) -> ToolResult:
    """Return the result of a denied call, with the words of the person who decided, if any."""
    words = f" The note on the decision: {decision.text}" if decision and decision.text else ""
    return ToolResult(DENIED + words, failed=True)


def of_value(value: Any) -> ToolResult:
    """Return the result that an installed tool's value means. Raise NotText."""
    if isinstance(value, str):
        return ToolResult(value)
    if isinstance(value, ToolFailure):
        return ToolResult(value.message, failed=True)
    if hasattr(value, "model_dump"):  # a model of Pydantic
        value = value.model_dump(mode="json")
    try:
        return ToolResult(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        raise NotText from None


def clean(result: ToolResult) -> ToolResult:
    """Return the result as it may be stored: bounded, and without characters that people miss."""
    text = _plain(result.text[: MAX_STORED_RESULT + 1])
    if len(text) > MAX_STORED_RESULT:
        text = text[: MAX_STORED_RESULT - 1] + "…"
    short = " ".join(_plain(result.short[: 4 * MAX_SHORT]).split())[:MAX_SHORT]
    return ToolResult(text, short, result.failed)


def for_model(name: str, result: ToolResult) -> str:
    """Return the message for the model: a line that the room writes, then the start of the text."""
    kind = "failure" if result.failed else "result"
    text = result.text
    if len(text) > MAX_RESULT:
        text = f"{text[:MAX_RESULT]}\n[cut here, {len(text)} characters in all]"
    return f"[{kind} of {name}]\n{text}"


def _plain(text: str) -> str:
    text = text.replace("\r\n", "\n").encode("utf-8", "replace").decode()
    return _HIDDEN.sub("", text)
