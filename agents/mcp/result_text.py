"""Describes the result of a tool as text: models and people get no images, files or links to open.

The text is what a server says. It is bounded and free of control characters, and still untrusted.
"""

import json
from typing import Final

from mcp import types

from agents.mcp.definitions import clean_lines, one_line

MAX_TEXT_BYTES: Final = 64 * 1024
MAX_PARTS: Final = 200
CUT: Final = "\n[The rest of this result was left out.]"


def describe(result: types.CallToolResult) -> str:
    """Return the result as text of at most MAX_TEXT_BYTES bytes."""
    parts = [_describe_part(part) for part in result.content[:MAX_PARTS]]
    has_text = any(isinstance(part, types.TextContent) for part in result.content)
    if result.structuredContent is not None and not has_text:
        # A result with text repeats its structured content there (specification, tools §5.2.6).
        parts.append(json.dumps(result.structuredContent, ensure_ascii=False))
    return bounded("\n".join(part for part in parts if part), cut=len(result.content) > MAX_PARTS)


def bounded(text: str, *, cut: bool = False) -> str:
    """Return at most MAX_TEXT_BYTES bytes of the text, and say what is missing."""
    cut = cut or len(text) > MAX_TEXT_BYTES
    encoded = clean_lines(text[:MAX_TEXT_BYTES]).encode(errors="replace")
    if len(encoded) <= MAX_TEXT_BYTES - len(CUT) and not cut:
        return encoded.decode()
    return encoded[: MAX_TEXT_BYTES - len(CUT)].decode(errors="ignore") + CUT


def _describe_part(part: types.ContentBlock) -> str:
    if isinstance(part, types.TextContent):
        return part.text
    if isinstance(part, types.ImageContent):
        return f"[image, {_kind(part.mimeType)}, {_size(part.data)}: not shown]"
    if isinstance(part, types.AudioContent):
        return f"[audio, {_kind(part.mimeType)}, {_size(part.data)}: not played]"
    if isinstance(part, types.ResourceLink):
        return f"[link: {one_line(part.name, 120)} {one_line(str(part.uri), 400)}]"
    resource = part.resource
    uri = one_line(str(resource.uri), 400)
    if isinstance(resource, types.TextResourceContents):
        return f"[file: {uri}]\n{resource.text}"
    return f"[file, {_kind(resource.mimeType)}, {_size(resource.blob)}: {uri}, not shown]"


def _kind(mime_type: str | None) -> str:
    return one_line(mime_type or "", 60) or "unknown kind"


def _size(data: str) -> str:
    """Return the size of data in Base64 (RFC 4648 §4)."""
    return f"{max(1, round(len(data) * 3 / 4 / 1024))} KB"
