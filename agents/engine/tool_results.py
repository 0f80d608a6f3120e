"""Bounds and cleans the results of tools; `agents.tools.result_words` words them for the model."""

import json
from typing import Any, Final

from crewai.tools.tool_failure import ToolFailure

from agents.tool_types import MAX_STORED_RESULT, ToolResult
from agents.untrusted_text import plain

MAX_SHORT: Final = 200


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
    text = plain(result.text[: MAX_STORED_RESULT + 1])
    if len(text) > MAX_STORED_RESULT:
        text = text[: MAX_STORED_RESULT - 1] + "…"
    short = " ".join(plain(result.short[: 4 * MAX_SHORT]).split())[:MAX_SHORT]
    return ToolResult(text, short, result.failed, result.read)
