"""Bounds and cleans the results of tools; `agents.tools.result_words` words them for the model."""

import json
import re
from typing import Any, Final

from crewai.tools.tool_failure import ToolFailure

from agents.tool_types import MAX_STORED_RESULT, ToolResult

MAX_SHORT: Final = 200
# Without line breaks and tabs: control characters, characters that reorder a line (UAX #9), and
# the tag characters, in which text can hide from people (Unicode 23.9). PostgreSQL stores no NUL.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)


class NotText(TypeError):
    """A tool has returned something that is neither text nor JSON."""


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
    return ToolResult(text, short, result.failed, result.read)


def _plain(text: str) -> str:
    text = text.replace("\r\n", "\n").encode("utf-8", "replace").decode()
    return _HIDDEN.sub("", text)
