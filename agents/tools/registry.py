"""Which tools there are, and whether they may be used now."""

from collections.abc import Collection
from uuid import UUID

from agents.models import Tool


def usable_tools(team_id: UUID, tools: Collection[UUID]) -> set[UUID]:
    """Return those of `tools` that a persona of the team may use now; at most one query.

    The definition of a tool must be approved and offered by its server, and the server be enabled.
    Our own tools have no row.
    """
    if not tools:
        return set()
    rows = Tool.objects.filter(pk__in=tools).select_related("server")
    found = {row.pk: row for row in rows}
    return {tool for tool in tools if tool not in found or _is_usable(found[tool], team_id)}


def _is_usable(tool: Tool, team_id: UUID) -> bool:
    is_ours = tool.team_id in (None, team_id)
    is_served = tool.server is None or tool.server.enabled
    return is_ours and is_served and tool.approved and tool.listed
