"""Services for the tools of MCP servers: what an admin says about them."""

from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts.audit.log import audit
from accounts.errors import Conflict, NotFound
from accounts.models import User
from accounts.permissions import access_team, lock_team
from agents.mcp.listing import ask_before
from agents.models import Tool
from agents.permissions import MANAGE


@transaction.atomic
def approve_tool(*, user: User, team_id: UUID, tool_id: UUID, sha256: str) -> Tool:
    """Allow the definition that the admin has seen; raise Conflict if it is another one now."""
    tool = _lock_tool(user, team_id, tool_id)
    if tool.sha256 != sha256:
        raise Conflict(_("The server has changed this tool again. Read it once more."))
    before = {"sha256": tool.approved_sha256}
    tool.approved_sha256 = tool.sha256
    tool.save(update_fields=["approved_sha256"])
    audit(user, "tool.approved", tool.pk, team_id=team_id, before=before, after={"sha256": sha256})
    return tool


@transaction.atomic
def update_tool(
    *,
    user: User,
    team_id: UUID,
    tool_id: UUID,
    changes: bool | None = None,
    idempotent: bool | None = None,
) -> Tool:
    """Say whether a tool changes something outside, and whether a call may be repeated."""
    tool = _lock_tool(user, team_id, tool_id)
    before = {"changes": tool.changes, "idempotent": tool.idempotent}
    if changes and not tool.changes:
        ask_before(tool)
    tool.changes = tool.changes if changes is None else changes
    tool.idempotent = tool.idempotent if idempotent is None else idempotent
    tool.save(update_fields=["changes", "idempotent"])
    after = {"changes": tool.changes, "idempotent": tool.idempotent}
    audit(user, "tool.changed", tool.pk, team_id=team_id, before=before, after=after)
    return tool


def _lock_tool(user: User, team_id: UUID, tool_id: UUID) -> Tool:
    access_tool(user, team_id, tool_id)
    lock_team(user, team_id, MANAGE)
    list(Tool.objects.select_for_update(no_key=True).filter(pk=tool_id).values_list("pk"))
    return access_tool(user, team_id, tool_id)


def access_tool(user: User, team_id: UUID, tool_id: UUID) -> Tool:
    """Return a tool of a server of this team, for an admin; raise NotFound or Forbidden."""
    team = access_team(user, team_id, MANAGE)
    tool = team.tools.select_related("server").filter(pk=tool_id).exclude(server=None).first()
    if tool is None:
        raise NotFound
    return tool
