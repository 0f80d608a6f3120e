"""Access checks for connections and personas.

Access to a connection depends on the role in the team. Access to a persona depends on its grants.
"""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import CharField, F, Q, QuerySet, UUIDField

from accounts.database.prepared_queries import Parameter, PreparedQuery
from accounts.errors import NotFound, Unauthenticated
from accounts.mfa import mfa_enabled
from accounts.models import Team, User, active_member
from accounts.names import is_found_by, typed_key
from accounts.permissions import MANAGE_AGENTS, VIEW, access_team_of, check_granted
from agents.models import Connection, McpServer, Persona, PersonaGrant

__all__ = [
    "CHANGE",
    "EDIT",
    "MANAGE",
    "SHARE",
    "USE",
    "VIEW",
    "access_connection",
    "access_mcp_server",
    "access_persona",
    "granted_to",
    "holders_of",
    "lock_persona",
    "matching_connections",
    "matching_personas",
    "personas_visible_to",
    "rights_in",
    "rights_on",
    "usable_by",
]

# The permission in a team to manage connections and to create personas.
MANAGE: Final = MANAGE_AGENTS

USE: Final = "use"
EDIT: Final = "edit"
CHANGE: Final = "manage"
SHARE: Final = "share"


def access_connection(
    user: User | AnonymousUser, connection_id: UUID, permission: str
) -> Connection:
    """Return the connection if `user` has `permission` in its team; raise NotFound or Forbidden.

    The query for the team also selects the connection, so the work is the same for an unknown
    connection and for a connection of another team.
    """
    team = access_team_of(user, permission, content_object__connections=connection_id)
    connection = team.connections.filter(pk=connection_id).first()
    if connection is None:
        raise NotFound
    connection.team = team
    return connection


def access_mcp_server(user: User | AnonymousUser, server_id: UUID, permission: str) -> McpServer:
    """Return the MCP server like `access_connection`."""
    team = access_team_of(user, permission, content_object__mcp_servers=server_id)
    server = team.mcp_servers.filter(pk=server_id).first()
    if server is None:
        raise NotFound
    server.team = team
    return server


def access_persona(user: User | AnonymousUser, persona_id: UUID, right: str) -> Persona:
    """Return the persona if `user` has this right on it; one query.

    Raise NotFound if the persona does not exist or the user has no right on it, and Forbidden if
    the user has only other rights.
    """
    if not isinstance(user, User):
        raise Unauthenticated
    related = ("permission", "content_object__team", "content_object__connection")
    found = _granted(user).filter(content_object=persona_id).select_related(*related)
    rows = list(found.annotate(has_mfa=mfa_enabled(user.pk)))
    if not rows:
        raise NotFound
    persona: Persona = rows[0].content_object
    check_granted(rows, user, persona.team, right)
    return persona


def lock_persona(user: User, persona_id: UUID, right: str) -> Persona:
    """Like `access_persona`, and lock the row until the transaction ends.

    Access is checked again under the lock, because the right may have been revoked while this
    call waited. The lock is FOR NO KEY UPDATE, which lets `rooms` insert rows that refer to the
    persona. `rooms` inserts these rows while it holds locks that a hook of this app may need, so a
    stronger lock could cause a deadlock.
    """
    access_persona(user, persona_id, right)
    locking = Persona.objects.select_for_update(no_key=True).filter(pk=persona_id)
    list(locking.values_list("pk"))
    return access_persona(user, persona_id, right)


def usable_by(user: User | Parameter, personas: QuerySet[Persona]) -> QuerySet[Persona]:
    """Filter `personas` by the right of `user` to mention them and to add them to rooms."""
    return granted_to(user, USE, personas)


def personas_visible_to(user: User, team: Team, *, team_wide: bool) -> QuerySet[Persona]:
    """Return the personas of a team that `user`, a member of it, may use and see in lists.

    Without `team_wide` (for guests), leave out personas that are granted only to the whole team.
    A guest still sees the personas of the rooms that they are in.
    """
    granted = _granted(user).filter(permission__codename=USE)
    if not team_wide:
        granted = granted.exclude(user=None, role="")
    return Persona.objects.filter(team=team, pk__in=granted.values("content_object"))


def matching_personas(personas: QuerySet[Persona], words: str) -> QuerySet[Persona]:
    """Filter personas of one team to those whose name or handle begins with `words`.

    A later word of the name may begin with them, too. The names are compared here, because a team
    has few personas (`MAX_PERSONAS`) and no database folds letters as `search_key` does.
    """
    key = typed_key(words).removeprefix("@")
    if not key:
        return personas
    names = personas.values_list("pk", "name", "handle")
    found = [pk for pk, name, handle in names if is_found_by(key, name, handle)]
    return personas.filter(pk__in=found)


def matching_connections(connections: QuerySet[Connection], words: str) -> QuerySet[Connection]:
    """Filter connections of one team to those with a name of which a word begins with `words`."""
    key = typed_key(words)
    if not key:
        return connections
    names = connections.values_list("pk", "name")
    return connections.filter(pk__in=[pk for pk, name in names if is_found_by(key, name)])


def granted_to(
    user: User | Parameter, right: str, personas: QuerySet[Persona]
) -> QuerySet[Persona]:
    """Filter `personas` by a right of `user`."""
    granted = _granted(user).filter(permission__codename=right)
    return personas.filter(pk__in=granted.values("content_object"))


def holders_of(
    right: str, users: Collection[UUID], personas: Collection[UUID]
) -> set[tuple[UUID, UUID]]:
    """Return those pairs of these users and personas in which the user has the right; one query."""
    if not users or not personas:
        return set()
    return set(_HOLDERS(right=right, users=list(users), personas=list(personas)))


def rights_in(user: User, persona: Persona) -> frozenset[str]:
    """Return the rights of the user on the persona; empty for a stranger."""
    rows = _granted(user).filter(content_object=persona).select_related("permission")
    return frozenset(row.permission.codename for row in rows)


def rights_on(user: User, personas: QuerySet[Persona]) -> dict[UUID, set[str]]:
    """Return the rights of the user on those of `personas` on which they have any; one query."""
    rows = _granted(user).filter(content_object__in=personas.order_by().values("pk"))
    rights: dict[UUID, set[str]] = {}
    for persona, right in rows.values_list("content_object", "permission__codename"):
        rights.setdefault(persona, set()).add(right)
    return rights


def _granted(user: User | Parameter) -> QuerySet[PersonaGrant]:
    """Return the grants to the user, to their role in the team, and to the whole team."""
    user_id = user.pk if isinstance(user, User) else user
    return _granted_to_members(content_object__team__members__user=user_id)


def _granted_to_members(**members: UUID | Parameter | list[Parameter]) -> QuerySet[PersonaGrant]:
    """Return a row for each grant and each active member of the team who has it.

    `members` filters the members. The conditions are in one call of `filter`, so that all of them
    apply to one member.
    """
    to_member = Q(user=F("content_object__team__members__user"))
    to_role = Q(user=None, role=F("content_object__team__members__role"))
    granted: QuerySet[PersonaGrant] = PersonaGrant.objects.filter(
        to_member | Q(user=None, role="") | to_role,
        active_member("content_object__team__members__"),
        content_object__team__deleted_at=None,
        **members,
    )
    return granted


def _holders(
    right: Parameter, users: list[Parameter], personas: list[Parameter]
) -> QuerySet[PersonaGrant, tuple[UUID, UUID]]:
    members = _granted_to_members(content_object__team__members__user__pk__in=users)
    found: dict[str, Any] = {"content_object__pk__in": personas}  # Any: the stubs know only values
    granted = members.filter(permission__codename=right, **found)
    return granted.values_list("content_object__team__members__user", "content_object")


_HOLDERS: Final = PreparedQuery(
    _holders, right=CharField(), users=[UUIDField()], personas=[UUIDField()]
)
