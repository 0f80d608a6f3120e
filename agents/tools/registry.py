"""Which tools there are, and which of them a persona has."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Literal, cast
from uuid import UUID

import structlog
from django.db.models import Exists, OuterRef, Q, QuerySet, UUIDField

from accounts.database.prepared_queries import Parameter, PreparedQuery
from accounts.models import Team
from agents.models import McpServer, Persona, PersonaTool, Tool, ToolPolicy
from agents.models.tools import MAX_TITLE, MAX_TOOL_NAME
from agents.provider_keys import KeyUnreadable, decrypt_headers
from agents.tool_types import McpSpec, ToolSpec
from agents.tools.catalog import CATALOG, OWN_TOOLS, OwnTool

MAX_SERVER_NAME: Final = 30
"""The part of a server's name that is shown behind the title of its tool."""

ReachName = Literal["room", "team", "internet"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TeamTool:
    """A tool that the personas of a team can get. `summary` is for people, in their language.

    `server` is None for our own tools and for those that the operator has installed. Only an
    `approved` tool of an enabled server is used.
    """

    id: UUID
    name: str
    title: str
    summary: str
    description: str
    server: McpServer | None
    reach: ReachName
    changes: bool
    idempotent: bool
    sha256: str
    approved: bool
    suggested: ToolPolicy = ToolPolicy.NEVER


def tools_of_team(team: Team, *, team_wide: bool = True) -> list[TeamTool]:
    """Return our own tools, those of the operator, and those of the team's servers; one query.

    Without `team_wide` (for guests), only our own tools are returned.
    """
    own = [_own_tool(tool) for tool in CATALOG]
    if not team_wide:
        return own
    rows = _rows_of(team).filter(listed=True).select_related("server")
    return own + [_team_tool(row) for row in rows.order_by("server__name", "title", "pk")]


def existing(team: Team, tools: Collection[UUID]) -> dict[UUID, bool]:
    """Return those of these tools that the team can use, each with whether it changes something.

    A tool that its server lists no longer still exists, because the server may list it again.
    """
    found = {pk: OWN_TOOLS[pk].changes for pk in tools if pk in OWN_TOOLS}
    others = set(tools) - found.keys()
    if others:
        found |= dict(_rows_of(team).filter(pk__in=others).values_list("pk", "changes"))
    return found


def usable_tools(team_id: UUID, tools: Collection[UUID]) -> set[UUID]:
    """Return those of `tools` that a persona of the team may use now; at most one query.

    The definition of a tool must be approved and offered by its server, and the server be enabled.
    """
    usable = {pk for pk in tools if pk in OWN_TOOLS}
    others = set(tools) - usable
    if others:
        rows = Tool.objects.filter(pk__in=others).select_related("server")
        usable |= {row.pk for row in rows if _is_usable(row, team_id)}
    return usable


def has_tools(persona: OuterRef) -> Exists:
    """Return a condition of a query: the persona has a tool that it may use."""
    return Exists(PersonaTool.objects.filter(persona=persona).exclude(policy=ToolPolicy.NEVER))


def specs_for(persona: Persona, asker: UUID | None = None) -> tuple[ToolSpec, ...]:
    """Return the tools that a persona may use, each with a name of its own.

    One query, and another one if the persona has tools that are not our own.

    Left out are tools that do not exist any more, that no admin has approved as they are now, and
    those of servers that are disabled. At a server where each person signs in, `asker` is used.
    """
    used = _USED_BY(persona=persona.pk)
    others = [tool for tool in used if tool not in OWN_TOOLS]
    specs = [_own_spec(OWN_TOOLS[tool]) for tool in used if tool in OWN_TOOLS]
    for row in _ROWS(tools=others) if others else ():
        if _is_usable(row, persona.team_id):
            specs += _spec(row, asker)
    return tuple(with_unique_names(specs))


def _used_by(persona: Parameter) -> QuerySet[PersonaTool, UUID]:
    used = PersonaTool.objects.filter(persona=persona).exclude(policy=ToolPolicy.NEVER)
    return used.order_by("tool").values_list("tool", flat=True)


_USED_BY: Final = PreparedQuery(_used_by, persona=UUIDField())
_ROWS: Final = PreparedQuery(
    lambda tools: Tool.objects.filter(pk__in=tools).select_related("server").order_by("pk"),
    tools=[UUIDField()],
)


def _rows_of(team: Team) -> QuerySet[Tool]:
    return Tool.objects.filter(Q(team=team) | Q(team=None, server=None))


def _is_usable(row: Tool, team: UUID) -> bool:
    if not row.listed or not row.approved or row.team_id not in (None, team):
        return False
    return row.server is None or (row.server.enabled and row.server.team_id == team)


def _own_spec(tool: OwnTool) -> ToolSpec:
    return ToolSpec(
        id=tool.id,
        name=tool.key,
        title=str(tool.title),
        description=tool.description,
        parameters=tool.parameters,
        reach=_reach(tool.reach),
        changes=tool.changes,
        idempotent=tool.idempotent,
        source="own",
        key=tool.key,
    )


def _spec(row: Tool, asker: UUID | None) -> list[ToolSpec]:
    """Return the tool of a row; nothing if the secrets of its server are unreadable."""
    try:
        server = None if row.server is None else _server(row.server, asker)
    except KeyUnreadable:
        log.error("tool.server_unreadable", server=str(row.server_id))
        return []
    return [
        ToolSpec(
            id=row.pk,
            name=row.name,
            title=row.title if row.server is None else _title_at(row.title, row.server.name),
            description=row.description,
            parameters=row.parameters,
            reach=_reach(row.reach),
            changes=row.changes,
            idempotent=row.idempotent,
            source="installed" if server is None else "mcp",
            key=row.key,
            server=server,
        )
    ]


def _title_at(title: str, server: str) -> str:
    """Return the title of a server's tool for the people who decide on its calls.

    The title is what the server says. It may be that of one of our own tools, so the name that an
    admin has given to the server stands behind it.
    """
    name = f" ({server[:MAX_SERVER_NAME]})"
    return title[: MAX_TITLE - len(name)] + name


def _server(server: McpServer, asker: UUID | None) -> McpSpec:
    return McpSpec(
        id=server.pk,
        team_id=server.team_id,
        url=server.url,
        auth=cast("Literal['none', 'bearer', 'oauth']", server.auth),
        user=asker if server.personal else None,
        headers=decrypt_headers(server.headers_encrypted),
    )


def with_unique_names(specs: Iterable[ToolSpec]) -> list[ToolSpec]:
    """Return the tools, our own first; a name that is taken gets the first free number."""
    unique: dict[str, ToolSpec] = {}
    for spec in sorted(specs, key=lambda spec: spec.source != "own"):
        name, number = spec.name, 2
        while name in unique:
            name = f"{spec.name[: MAX_TOOL_NAME - 4]}_{number}"
            number += 1
        unique[name] = replace(spec, name=name)
    return list(unique.values())


def _own_tool(tool: OwnTool) -> TeamTool:
    definition = [tool.key, tool.description, tool.parameters]
    return TeamTool(
        id=tool.id,
        name=tool.key,
        title=str(tool.title),
        summary=str(tool.summary),
        description=tool.description,
        server=None,
        reach=_reach(tool.reach),
        changes=tool.changes,
        idempotent=tool.idempotent,
        sha256=hash_definition(definition),
        approved=True,
        suggested=tool.suggested,
    )


def _team_tool(row: Tool) -> TeamTool:
    return TeamTool(
        id=row.pk,
        name=row.name,
        title=row.title,
        summary=row.description,
        description=row.description,
        server=row.server,
        reach=_reach(row.reach),
        changes=row.changes,
        idempotent=row.idempotent,
        sha256=row.sha256,
        approved=row.approved,
    )


def hash_definition(definition: object) -> str:
    """Return the SHA-256 of a definition of JSON values, in hex."""
    return sha256(json.dumps(definition, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _reach(reach: str) -> ReachName:
    return cast("ReachName", str(reach))
