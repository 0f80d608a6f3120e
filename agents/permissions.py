"""The gates of personas and connections: what somebody may do to them, their team says."""

from typing import Final
from uuid import UUID

from django.contrib.auth.models import AnonymousUser

from accounts.errors import NotFound
from accounts.gate import MANAGE_AGENTS, VIEW, access_team
from accounts.models import User
from agents.models import Connection, Persona

__all__ = ["MANAGE", "VIEW", "access_connection", "access_persona"]

MANAGE: Final = MANAGE_AGENTS


def access_connection(
    user: User | AnonymousUser, connection_id: UUID, permission: str
) -> Connection:
    """Return the connection if `user` may do this in its team; NotFound or Forbidden if not."""
    connection = Connection.objects.filter(pk=connection_id).select_related("team").first()
    # No team has this id: a connection that is not there costs as many queries as a foreign one.
    access_team(user, connection.team_id if connection else connection_id, permission)
    if connection is None:
        raise NotFound
    return connection


def access_persona(user: User | AnonymousUser, persona_id: UUID, permission: str) -> Persona:
    """Return the persona if `user` may do this in its team; NotFound or Forbidden if not."""
    persona = Persona.objects.filter(pk=persona_id).select_related("team", "connection").first()
    access_team(user, persona.team_id if persona else persona_id, permission)
    if persona is None:
        raise NotFound
    return persona
