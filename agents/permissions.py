"""The gates of personas and connections.

What somebody may do to a connection, their team says; what to a persona, its grants.
"""

from typing import Final
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import F, Q, QuerySet

from accounts.errors import Forbidden, NotFound, Unauthenticated
from accounts.mfa import check_mfa, mfa_enabled
from accounts.models import Team, User
from accounts.permissions import MANAGE_AGENTS, VIEW, access_team_of
from accounts.scopes import check_in_scope
from agents.models import Connection, Persona, PersonaGrant

__all__ = [
    "CHANGE",
    "EDIT",
    "MANAGE",
    "SHARE",
    "USE",
    "VIEW",
    "access_connection",
    "access_persona",
    "granted_to",
    "lock_persona",
    "personas_seen_by",
    "rights_in",
    "usable_by",
]

MANAGE: Final = MANAGE_AGENTS  # of a team: its connections, and making personas

USE: Final = "use"
EDIT: Final = "edit"
CHANGE: Final = "manage"
SHARE: Final = "share"


def access_connection(
    user: User | AnonymousUser, connection_id: UUID, permission: str
) -> Connection:
    """Return the connection if `user` may do this in its team; NotFound or Forbidden if not.

    The gate looks for the connection itself: one that is not there costs what a foreign one does.
    """
    team = access_team_of(user, permission, content_object__connections=connection_id)
    connection = team.connections.filter(pk=connection_id).first()
    if connection is None:
        raise NotFound
    connection.team = team
    return connection


def access_persona(user: User | AnonymousUser, persona_id: UUID, right: str) -> Persona:
    """Return the persona if `user` has been granted this right to it; one query.

    Raises NotFound where there is no such persona or nothing of it is for the user, alike;
    Forbidden where they may do something with it, but not this.
    """
    if not isinstance(user, User):
        raise Unauthenticated
    things = ("permission", "content_object__team", "content_object__connection")
    found = _granted(user).filter(content_object=persona_id).select_related(*things)
    rows = list(found.annotate(two_steps=mfa_enabled(user.pk)))
    if not rows:
        raise NotFound
    persona: Persona = rows[0].content_object
    check_in_scope(user.scope, persona.team_id, right)
    check_mfa(persona.team, two_steps=rows[0].two_steps)
    if not any(row.permission.codename == right for row in rows):
        raise Forbidden(team_id=persona.team_id)
    return persona


def lock_persona(user: User, persona_id: UUID, right: str) -> Persona:
    """Like `access_persona`, and nothing else changes the persona until the transaction ends.

    The gate is asked again behind the lock: a right that was taken while we waited is gone.
    `no_key`: rooms write rows that point at it while they hold locks that a listener may need.
    """
    access_persona(user, persona_id, right)
    locking = Persona.objects.select_for_update(no_key=True).filter(pk=persona_id)
    list(locking.values_list("pk"))
    return access_persona(user, persona_id, right)


def usable_by(user: User, personas: QuerySet[Persona]) -> QuerySet[Persona]:
    """Filter to the personas that `user` may ask and take into rooms."""
    return granted_to(user, USE, personas)


def personas_seen_by(user: User, team: Team, *, everybody: bool) -> QuerySet[Persona]:
    """Return the personas of a team that `user`, who is in it, may look through: to use them.

    To a guest (not `everybody`) only those granted to them or to guests: what else the team has is
    not for guests, and whom they meet in a room, that room shows.
    """
    granted = _granted(user).filter(permission__codename=USE)
    if not everybody:
        granted = granted.exclude(user=None, role="")
    return Persona.objects.filter(team=team, pk__in=granted.values("content_object"))


def granted_to(user: User, right: str, personas: QuerySet[Persona]) -> QuerySet[Persona]:
    """Filter to the personas to which `user` has been granted a right."""
    granted = _granted(user).filter(permission__codename=right)
    return personas.filter(pk__in=granted.values("content_object"))


def rights_in(user: User, persona: Persona) -> frozenset[str]:
    """Return what the user may do to the persona; empty for strangers."""
    rows = _granted(user).filter(content_object=persona).select_related("permission")
    return frozenset(row.permission.codename for row in rows)


def _granted(user: User) -> QuerySet[PersonaGrant]:
    """The grants to the user, to their role, and to the whole of each team that they are in."""
    to_role = Q(user=None, role=F("content_object__team__members__role"))
    granted: QuerySet[PersonaGrant] = PersonaGrant.objects.filter(
        Q(user=user.pk) | Q(user=None, role="") | to_role,
        content_object__team__deleted_at=None,
        content_object__team__members__user=user.pk,
        content_object__team__members__suspended_at=None,
        content_object__team__members__user__is_active=True,
    )
    return granted
