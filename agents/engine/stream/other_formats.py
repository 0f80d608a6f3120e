"""Translates the events of Anthropic and of Gemini, which some gateways relay as they are.

The result is a `chat.completion.chunk` of OpenAI, which `chat` normalises like all others.
"""

from typing import Any

Chunk = dict[str, Any]


def to_chunk(value: dict[str, Any]) -> Chunk | None:
    """Return the chunk that an event without `choices` means; None if it is of no known format."""
    if isinstance(candidates := value.get("candidates"), list):
        return _of_gemini(candidates, value.get("usageMetadata"))
    return _of_anthropic(value)


def tool_use(part: object, index: object = None) -> dict[str, Any] | None:
    """Return the tool call in a part of Anthropic's `content`, or None."""
    if not isinstance(part, dict) or part.get("type") != "tool_use":
        return None
    function = {"name": part.get("name"), "arguments": part.get("input")}
    return {"index": index, "id": part.get("id"), "function": function}


def _of_anthropic(value: dict[str, Any]) -> Chunk | None:
    """https://docs.claude.com/en/api/messages-streaming: blocks are numbered by `index`."""
    kind, delta, message = value.get("type"), value.get("delta"), value.get("message")
    if kind == "message_start" and isinstance(message, dict):
        return {"choices": [], "usage": message.get("usage")}
    if kind == "message_delta" and isinstance(delta, dict):
        return _chunk({}, delta.get("stop_reason"), value.get("usage"))
    if kind == "message":  # the whole answer, as for a request without a stream
        return _chunk(
            {"content": value.get("content")}, value.get("stop_reason"), value.get("usage")
        )
    if kind == "content_block_start":
        return _of_block(value.get("content_block"), value.get("index"))
    if kind == "content_block_delta":
        return _of_block(delta, value.get("index"))
    return None


def _of_block(block: object, index: object) -> Chunk:
    """Return the chunk for the begin of a block, or for more of it."""
    if isinstance(block, dict) and block.get("type") == "input_json_delta":
        function = {"arguments": block.get("partial_json")}
        return _chunk({"tool_calls": [{"index": index, "function": function}]})
    if call := tool_use(block, index):
        return _chunk({"tool_calls": [call]})
    return _chunk({"content": [block]})


def _of_gemini(candidates: list[Any], usage: object) -> Chunk:
    """https://ai.google.dev/api/generate-content: parts with text or with a whole call."""
    first = candidates[0] if candidates and isinstance(candidates[0], dict) else {}
    content = first.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    calls = [call for part in parts if isinstance(call := part.get("functionCall"), dict)]
    delta = {
        "content": [{"text": part.get("text")} for part in parts if not part.get("thought")],
        "tool_calls": [
            {"function": {"name": call.get("name"), "arguments": call.get("args")}}
            for call in calls
        ],
    }
    counts = usage if isinstance(usage, dict) else {}
    tokens = {
        "prompt_tokens": counts.get("promptTokenCount"),
        "completion_tokens": counts.get("candidatesTokenCount"),
    }
    return _chunk(delta, first.get("finishReason"), tokens if counts else None)


def _chunk(delta: dict[str, Any], reason: object = None, usage: object = None) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"choices": [choice], "usage": usage}
