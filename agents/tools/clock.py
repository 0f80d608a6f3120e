"""The tool that returns the current time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.tool_types import ToolResult


async def run(arguments: Mapping[str, Any]) -> ToolResult:
    """Return the date, time and weekday in `zone`, and its distance from UTC."""
    name = arguments.get("zone") or "UTC"
    try:
        zone = ZoneInfo(name)
    # A name is also a path: a folder, or a name that is too long, is an OSError.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ToolResult(
            f"There is no time zone “{name}”. Use a name such as Asia/Seoul.", failed=True
        )
    now = datetime.now(UTC).astimezone(zone)
    # People read the short form in their own zone, so it names the zone of the answer.
    return ToolResult(f"{now:%A} {now.isoformat(timespec='seconds')} ({name})", f"{now:%H:%M %Z}")
