"""Times as they go over the wire."""

from datetime import UTC, datetime


def format_timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
