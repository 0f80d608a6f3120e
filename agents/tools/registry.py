"""Which tools there are, and which of them a persona has."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Literal, NamedTuple, cast
from uuid import UUID

import structlog
from django.db.models import Exists, OuterRef, Q, QuerySet, UUIDField

from accounts.database.prepared_queries import Parameter, PreparedQuery
from accounts.models import Team
from agents.models import McpServer, Persona, PersonaTool, Reach, Tool, ToolPolicy
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
    """A tool that the personas of a team can get. `title` and `summary` are for people.

    Those of our own tools are in the active language.

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

    @property
    def needs_admin(self) -> bool:
        """True if only a team admin may let a persona use the tool without asking."""
        return _needs_admin(
            changes=self.changes, reach=self.reach, has_server=self.server is not None
        )


def tools_of_team(team: Team) -> list[TeamTool]:
    """Return our own tools, those of the operator, and those of the team's servers; one query."""
    own = [_own_tool(tool) for tool in CATALOG]
    rows = _rows_of(team).filter(listed=True).select_related("server")
    return own + [_team_tool(row) for row in rows.order_by("server__name", "title", "pk")]


def tools_before(
    team: Team, before: UUID | None, limit: int, *, team_wide: bool = True
) -> list[TeamTool]:
    """Return the `limit` tools of `tools_of_team` with the greatest ids below `before`; one query.

    Our own tools are the first, and the others follow, newest first. Without `team_wide` (for
    guests), only our own tools are returned.
    """
    own = [_own_tool(tool) for tool in CATALOG if before is None or tool.id < before]
    own.sort(key=lambda tool: tool.id, reverse=True)
    if not team_wide or len(own) >= limit:
        return own[:limit]
    rows = _rows_of(team).filter(listed=True).select_related("server").order_by("-pk")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return own + [_team_tool(row) for row in rows[: limit - len(own)]]


def existing(team: Team, tools: Collection[UUID]) -> dict[UUID, bool]:
    """Return those of these tools that the team can use, each with whether it needs an admin.

    See `TeamTool.needs_admin`. A tool that its server lists no longer still exists, because the
    server may list it again.
    """
    own = {pk: OWN_TOOLS[pk] for pk in tools if pk in OWN_TOOLS}
    found = {pk: _needs_admin(changes=tool.changes, reach=tool.reach) for pk, tool in own.items()}
    others = set(tools) - found.keys()
    if others:
        for row in _rows_of(team).filter(pk__in=others):
            found[row.pk] = _needs_admin(
                changes=row.changes, reach=row.reach, has_server=row.server_id is not None
            )
    return found


def _needs_admin(*, changes: bool, reach: str, has_server: bool = False) -> bool:
    """Return True for a tool that changes something outside, or may send words to any address.

    The model chooses the address that a tool with the reach `internet` connects to, so a text that
    the model reads can choose it. A tool of a server sends words to the address that an admin has
    entered, and changes something until an admin has said that it only reads.
    """
    return changes or (reach == Reach.INTERNET and not has_server)


class ToolStatus(NamedTuple):
    """The hash of the definition of a tool as it is now, and whether personas may use the tool."""

    sha256: str
    is_usable: bool


def statuses(team_id: UUID, tools: Collection[UUID]) -> dict[UUID, ToolStatus]:
    """Return those of `tools` that exist, as they are now for a team; at most one query.

    To be usable, the definition of a tool must be approved and offered by its server, and the
    server be enabled. Our own tools have no hash, as in `ToolSpec`.
    """
    found = {pk: ToolStatus("", is_usable=True) for pk in tools if pk in OWN_TOOLS}
    others = set(tools) - found.keys()
    if others:
        rows = Tool.objects.filter(pk__in=others).select_related("server")
        found |= {row.pk: ToolStatus(row.sha256, _is_usable(row, team_id)) for row in rows}
    return found


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
        title=tool.title,
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
            sha256=row.sha256,
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
        title=tool.shown_title,
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
