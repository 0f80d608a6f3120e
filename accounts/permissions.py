"""The gate of teams: one question in one place, asked by pages, REST and services."""

from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.errors import Forbidden, NotFound, Unauthenticated
from accounts.mfa import check_mfa, mfa_enabled
from accounts.models import Team, TeamMember, TeamPermission, User
from accounts.scopes import check_in_scope

VIEW: Final = "view"
JOIN_ROOM: Final = "join_room"
CREATE_ROOM: Final = "create_room"
MANAGE_PEOPLE: Final = "manage_people"
MANAGE_AGENTS: Final = "manage_agents"
MANAGE: Final = "manage"


def access_team(user: User | AnonymousUser, team_id: UUID, permission: str) -> Team:
    """Return the team if `user` may do this to it; one query, whatever the answer.

    Raises NotFound where there is no such team or the user is not in it, alike; Forbidden where
    they are in it without this right. Staff and superusers get nothing extra.
    """
    return access_team_of(user, permission, content_object=team_id)


def access_team_of(user: User | AnonymousUser, permission: str, **thing: object) -> Team:
    """Like `access_team`, for the team of something that is named by how a team leads to it.

    The thing is looked for in the same query: one that is not there costs what a foreign one does.
    """
    if not isinstance(user, User):
        raise Unauthenticated
    rows = list(_granted(user).filter(content_object__deleted_at=None, **thing))
    return _judge(rows, user, permission)


def access_deleted_team(user: User, team_id: UUID) -> Team:
    """Return a team that is to be purged, to those who may still undo that: its owners."""
    granted = _granted(user).filter(content_object=team_id)
    rows = list(granted.filter(content_object__deleted_at__isnull=False))
    if not any(row.permission.codename == MANAGE for row in rows):
        raise NotFound
    return _judge(rows, user, MANAGE)


def deleted_teams(user: User) -> list[Team]:
    """Return the teams whose deletion the user may still undo."""
    granted = _granted(user).filter(permission__codename=MANAGE)
    rows = granted.filter(content_object__deleted_at__isnull=False)
    return [row.content_object for row in rows]


def is_suspended(user: User) -> bool:
    """Whether a team keeps a seat for the user and shuts everything else; never which one."""
    seats = TeamMember.objects.filter(user=user, team__deleted_at=None)
    return seats.filter(suspended_at__isnull=False).exists()


def require_user(request: HttpRequest) -> User:
    """Return who asks; raises Unauthenticated for nobody."""
    if not isinstance(request.user, User):
        raise Unauthenticated
    return request.user


def team_permissions(user: User, team: Team) -> frozenset[str]:
    """Return what the user may do to the team; empty for strangers."""
    rows = _granted(user).filter(content_object=team, content_object__deleted_at=None)
    return frozenset(row.permission.codename for row in rows)


def _granted(user: User) -> QuerySet[TeamPermission]:
    granted = TeamPermission.objects.filter(user_id=user.pk, user__is_active=True)
    found: QuerySet[TeamPermission] = granted.select_related("content_object", "permission")
    return found.annotate(two_steps=mfa_enabled(user.pk))


def _judge(rows: list[Any], user: User, permission: str) -> Team:
    if not rows:
        raise NotFound
    team: Team = rows[0].content_object
    check_in_scope(user.scope, team.pk, permission)
    check_mfa(team, two_steps=rows[0].two_steps)
    if not any(row.permission.codename == permission for row in rows):
        raise Forbidden(team_id=team.pk)
    return team
