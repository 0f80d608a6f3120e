"""Stores the tools that a server lists, as rows that an admin approves."""

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents.mcp.definitions import Definition, model_name
from agents.models import McpServer, PersonaTool, Tool, ToolPolicy


@transaction.atomic
def store_listing(
    server_id: UUID, definitions: Iterable[Definition], *, approve_first: bool = False
) -> list[Tool]:
    """Make the rows of a server's tools agree with what it lists now; return the changed rows.

    A new tool, and one whose definition has changed, waits for the approval of an admin. It is
    taken to change something until an admin says otherwise, and personas that used it without
    asking ask from then on. With `approve_first`, the tools of a server that had none are approved:
    the admin who adds a server has seen them. A tool that is listed no longer keeps its row,
    because the server may list it again.
    """
    server = McpServer.objects.select_for_update(no_key=True).filter(pk=server_id).first()
    if server is None:
        return []
    rows = {row.key: row for row in Tool.objects.filter(server=server)}
    approve = approve_first and not rows
    changed = []
    names = {row.name for row in rows.values()}
    listed = {definition.name: definition for definition in definitions}
    for definition in listed.values():
        row = rows.get(definition.name)
        if row is None:
            name = model_name(server.prefix, definition.name, names)
            names.add(name)
            row = Tool(team_id=server.team_id, server=server, key=definition.name, name=name)
        elif row.listed and row.sha256 == definition.sha256:
            continue
        _copy(definition, row)
        if approve:
            row.approved_sha256 = row.sha256
        row.save()
        changed.append(row)
    for row in rows.values():
        if row.listed and row.key not in listed:
            row.listed = False
            row.save(update_fields=["listed"])
            changed.append(row)
    server.checked_at, server.problem = timezone.now(), ""
    server.save(update_fields=["checked_at", "problem"])
    return changed


def _copy(definition: Definition, row: Tool) -> None:
    if row.sha256 != definition.sha256:
        row.changes, row.idempotent = True, False
        ask_before(row)
    row.title = definition.title
    row.description = definition.description
    row.parameters = definition.parameters
    row.claims = {"read_only": definition.read_only, "idempotent": definition.idempotent}
    row.sha256 = definition.sha256
    row.listed = True


def ask_before(tool: Tool) -> None:
    """Let no persona use the tool without asking any more: it was allowed for another meaning."""
    always = PersonaTool.objects.filter(tool=tool.pk, policy=ToolPolicy.ALWAYS)
    always.update(policy=ToolPolicy.ASK)
