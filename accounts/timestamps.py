"""The format of timestamps in REST responses and socket events."""

from datetime import UTC, datetime


def format_timestamp(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
