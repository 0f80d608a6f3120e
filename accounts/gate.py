"""The gate of teams: one question in one place, asked by pages, REST and services."""

from typing import Final
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from accounts.errors import Forbidden, NotFound, Unauthenticated
from accounts.mfa import check_mfa
from accounts.models import Team, TeamPermission, User
from accounts.reach import check_reach

VIEW: Final = "view"
CREATE_ROOM: Final = "create_room"
MANAGE_PEOPLE: Final = "manage_people"
MANAGE_AGENTS: Final = "manage_agents"
MANAGE: Final = "manage"


def access_team(user: User | AnonymousUser, team_id: UUID, permission: str) -> Team:
    """Return the team if `user` may do this to it; one query, and one more where it asks for MFA.

    Raises NotFound where there is no such team or the user is not in it, alike; Forbidden where
    they are in it without this right. Staff and superusers get nothing extra.
    """
    if not isinstance(user, User):
        raise Unauthenticated
    rows = list(
        TeamPermission.objects.filter(
            content_object_id=team_id, user_id=user.pk, user__is_active=True
        ).select_related("content_object", "permission")
    )
    if not rows:
        raise NotFound
    team: Team = rows[0].content_object
    check_reach(user, team_id, permission)
    check_mfa(user, team)
    if not any(row.permission.codename == permission for row in rows):
        raise Forbidden(team_id=team_id)
    return team


def signed_in(request: HttpRequest) -> User:
    """Return who asks; raises Unauthenticated for nobody."""
    if not isinstance(request.user, User):
        raise Unauthenticated
    return request.user


def team_permissions(user: User, team: Team) -> frozenset[str]:
    """Return what the user may do to the team; empty for strangers."""
    rows = TeamPermission.objects.filter(
        content_object=team, user_id=user.pk, user__is_active=True
    ).select_related("permission")
    return frozenset(row.permission.codename for row in rows)
