"""Stores the tools that a server lists, as rows that an admin approves."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents.mcp.definitions import Definition, model_name
from agents.models import McpServer, PersonaTool, Tool, ToolPolicy

MAX_ROWS: Final = 300
"""The rows of a server, those of tools that it lists no longer included. These give way to new
tools if no persona has them."""


@transaction.atomic
def store_listing(
    server_id: UUID, definitions: Iterable[Definition], *, url: str, approve_first: bool = False
) -> list[Tool]:
    """Make the rows of a server's tools agree with what it lists now; return the changed rows.

    The list was read from `url`: nothing changes if the server has another address by now.
    A new tool, and one whose definition has changed, waits for the approval of an admin. It is
    taken to change something until an admin says otherwise, and personas that used it without
    asking ask from then on. With `approve_first`, the tools of a server that had none are approved:
    the admin who adds a server has seen them. A tool that is listed no longer keeps its row if it
    was approved, or if a persona has it, because the server may list it again. If a new tool would
    exceed MAX_ROWS, the oldest row of a tool that is neither listed nor in a persona is deleted for
    it; without such a row, the tool is not stored.
    """
    servers = McpServer.objects.select_for_update(no_key=True)
    server = servers.filter(pk=server_id, url=url).first()
    if server is None:
        return []
    compared = server.tools.only("server", "key", "name", "listed", "sha256", "approved_sha256")
    rows = {row.key: row for row in compared}
    approve = approve_first and not rows
    listed = {definition.name: definition for definition in definitions}
    changed = _retire(rows, listed)
    names = {row.name for row in rows.values()}
    spare = _spare(rows, listed) if len(rows.keys() | listed) > MAX_ROWS else []
    for definition in listed.values():
        row = rows.get(definition.name)
        if row is None:
            if len(names) >= MAX_ROWS and spare:
                oldest = spare.pop(0)
                names.remove(oldest.name)
                oldest.delete()
            if len(names) >= MAX_ROWS:
                continue
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
    server.checked_at, server.problem = timezone.now(), ""
    server.save(update_fields=["checked_at", "problem"])
    return changed


def _retire(rows: dict[str, Tool], listed: Collection[str]) -> list[Tool]:
    """Store which tools are listed no longer, and return those that were until now.

    Those that no admin has approved and no persona has are deleted, also from `rows`: a server may
    list other names each time.
    """
    gone = [row for row in rows.values() if row.key not in listed]
    retired = [row for row in gone if row.listed]
    for row in retired:
        row.listed = False
        row.save(update_fields=["listed"])
    if not listed:
        return retired  # without rows, the next list would be the first, and be approved
    unused = _in_no_persona(row for row in gone if not row.approved_sha256)
    Tool.objects.filter(pk__in=[row.pk for row in unused]).delete()
    for row in unused:
        del rows[row.key]
    return retired


def _spare(rows: Mapping[str, Tool], listed: Collection[str]) -> list[Tool]:
    """Return the rows of tools that are neither listed nor in a persona, oldest first."""
    gone = _in_no_persona(row for row in rows.values() if row.key not in listed)
    return sorted(gone, key=lambda row: row.pk)


def _in_no_persona(rows: Iterable[Tool]) -> list[Tool]:
    found = list(rows)
    used = PersonaTool.objects.filter(tool__in=[row.pk for row in found])
    ids = set(used.values_list("tool", flat=True))
    return [row for row in found if row.pk not in ids]


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
