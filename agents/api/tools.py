"""The REST endpoints of tools: those of a team, and those of a persona."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from accounts.api.bodies import Body
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, parse_cursor
from accounts.api.routing import Gate, Routes
from accounts.fields import one_of
from accounts.models import Team, User
from accounts.permissions import CREATE_ROOM, access_team, team_permissions
from agents.models import Deciders, Persona, Reach, Tool, ToolPolicy
from agents.permissions import EDIT, VIEW, access_persona
from agents.services import ToolChoice, list_tools, update_persona
from agents.tools.registry import TeamTool, tools_before

routes = Routes("agents")

PolicyName = Literal["always", "ask", "never"]
DecidersName = Literal["asker", "moderators"]


class ToolBody(Struct, frozen=True, kw_only=True):
    """A tool that personas can use; `name` is what models see, `server` the server that has it.

    A tool is used only while it is `approved`: `sha256` is the hash of the approved definition.
    With `needs_admin`, only a team admin may let a persona use it without asking.
    """

    id: UUID
    name: str
    title: str
    description: str
    server: UUID | None
    reach: Annotated[str, one_of(Reach.values)]
    changes: bool
    idempotent: bool
    sha256: str
    approved: bool
    needs_admin: bool


class PersonaToolUpdate(Body, frozen=True, kw_only=True):
    """When a persona may use a tool; `deciders` are those who decide if it asks."""

    tool: UUID
    policy: PolicyName
    deciders: DecidersName = "asker"


class PersonaToolsUpdate(Body, frozen=True):
    """All tools of a persona. It never uses a tool that is absent."""

    tools: Annotated[tuple[PersonaToolUpdate, ...], Meta(max_length=200)]


class PersonaToolBody(Struct, frozen=True, kw_only=True):
    """When a persona may use a tool; `deciders` are those who decide if it asks."""

    tool: UUID
    policy: Annotated[str, one_of(ToolPolicy.values)]
    deciders: Annotated[str, one_of(Deciders.values)]


class PersonaToolsBody(Struct, frozen=True):
    """The tools that a persona may use."""

    tools: list[PersonaToolBody]


@routes.add(
    "GET /teams/{uuid:team_id}/tools",
    Gate(access_team, VIEW),
    summary="List the tools that personas of a team can use; guests see only those of every team",
)
def get_tools(
    user: User, team: Team, limit: Limit = MAX_PAGE, cursor: Cursor = None
) -> Page[ToolBody]:
    """Our own tools are first, then those of the operator and of servers, newest first."""
    team_wide = CREATE_ROOM in team_permissions(user, team)
    before = None if cursor is None else parse_cursor(Tool, "pk", cursor)
    found = tools_before(team, before, limit + 1, team_wide=team_wide)
    shown = found[:limit]
    next_cursor = str(shown[-1].id) if len(found) > limit else None
    return Page(items=[_tool_body(tool) for tool in shown], next=next_cursor)


@routes.add(
    "GET /personas/{uuid:persona_id}/tools",
    Gate(access_persona, EDIT),
    summary="List the tools that a persona may use",
)
def get_tools_of_persona(user: User, persona: Persona) -> PersonaToolsBody:
    return _persona_tools_body(persona)


@routes.add(
    "PUT /personas/{uuid:persona_id}/tools",
    Gate(access_persona, EDIT),
    summary="Replace the tools of a persona; creates its next version",
)
def put_tools_of_persona(
    user: User, persona: Persona, body: PersonaToolsUpdate
) -> PersonaToolsBody:
    tools = [ToolChoice(each.tool, each.policy, each.deciders) for each in body.tools]
    return _persona_tools_body(update_persona(user=user, persona_id=persona.pk, tools=tools))


def _tool_body(tool: TeamTool) -> ToolBody:
    return ToolBody(
        id=tool.id,
        name=tool.name,
        title=tool.title,
        description=tool.description,
        server=tool.server.pk if tool.server else None,
        reach=tool.reach,
        changes=tool.changes,
        idempotent=tool.idempotent,
        sha256=tool.sha256,
        approved=tool.approved,
        needs_admin=tool.needs_admin,
    )


def _persona_tools_body(persona: Persona) -> PersonaToolsBody:
    return PersonaToolsBody(
        [
            PersonaToolBody(tool=each.tool, policy=each.policy, deciders=each.deciders)
            for each in list_tools(persona)
        ]
    )
