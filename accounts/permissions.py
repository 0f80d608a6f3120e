"""The permission checks of teams, called by pages, REST and services."""

from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet, UUIDField
from django.http import HttpRequest

from accounts.database.prepared_queries import Parameter, PreparedQuery
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
    """Return the team if `user` has `permission` on it; one query in every case.

    Raises NotFound if the team does not exist or the user is not an active member of it, and
    Forbidden if the member lacks the permission. Staff and superusers have no extra rights.
    """
    if not isinstance(user, User):
        raise Unauthenticated
    return _check_rows(_IN_TEAM(user=user.pk, team=team_id), user, permission)


def access_team_with_permissions(
    user: User, team_id: UUID, permission: str
) -> tuple[Team, frozenset[str]]:
    """Like `access_team`; also return `team_permissions`, from the same query."""
    rows = _IN_TEAM(user=user.pk, team=team_id)
    team = _check_rows(rows, user, permission)
    return team, frozenset(row.permission.codename for row in rows)


def access_team_of(user: User | AnonymousUser, permission: str, **lookup: object) -> Team:
    """Like `access_team`, for the team that owns an object; `lookup` filters by that object.

    The object is looked up in the same query, so the work is the same for a missing object and for
    an object of another team.
    """
    if not isinstance(user, User):
        raise Unauthenticated
    rows = list(_granted(user.pk).filter(content_object__deleted_at=None, **lookup))
    return _check_rows(rows, user, permission)


def check_granted(rows: list[Any], user: User, team: Team, permission: str) -> None:
    """Raise Forbidden unless `permission` is among the permissions that were granted to `user`.

    `rows` are those of one object of the team, with the annotation `has_mfa`. The scope of the
    credential and a second factor that the team requires come first.
    """
    check_in_scope(user.scope, team.pk, permission)
    check_mfa(team, has_mfa=rows[0].has_mfa)
    if not any(row.permission.codename == permission for row in rows):
        raise Forbidden(team_id=team.pk)


def lock_team(user: User, team_id: UUID, permission: str) -> Team:
    """Like `access_team`, and lock the team until the transaction ends.

    The permission is checked before the lock, so that strangers cannot wait for it, and after the
    lock, because the user may have lost the permission while waiting. Teams are locked first: each
    change of a team's members holds the lock of the team.
    """
    access_team(user, team_id, permission)
    list(Team.objects.locked().filter(pk=team_id).values_list("pk"))
    return access_team(user, team_id, permission)


def lock_user(user: User) -> None:
    """Lock the row of `user` until the transaction ends, to count what the user has.

    Raises Unauthenticated if the account was deactivated meanwhile. Users are locked before teams.
    """
    if not list(User.objects.locked().filter(pk=user.pk, is_active=True).values_list("pk")):
        raise Unauthenticated


def access_deleted_team(user: User, team_id: UUID) -> Team:
    """Return a deleted team to one of its owners, who may restore it; else raise NotFound."""
    granted = _granted(user.pk).filter(content_object=team_id)
    rows = list(granted.filter(content_object__deleted_at__isnull=False))
    if not any(row.permission.codename == MANAGE for row in rows):
        raise NotFound
    return _check_rows(rows, user, MANAGE)


def deleted_teams(user: User) -> list[Team]:
    """Return the deleted teams that the user owns and may restore."""
    granted = _granted(user.pk).filter(permission__codename=MANAGE)
    rows = granted.filter(content_object__deleted_at__isnull=False)
    return [row.content_object for row in rows]


def is_suspended(user: User) -> bool:
    """Return True if the user is suspended in any team, without naming the team."""
    memberships = TeamMember.objects.filter(user=user, team__deleted_at=None)
    return memberships.filter(suspended_at__isnull=False).exists()


def require_user(request: HttpRequest) -> User:
    """Return the authenticated user of the request. Raises Unauthenticated."""
    if not isinstance(request.user, User):
        raise Unauthenticated
    return request.user


def team_permissions(user: User, team: Team) -> frozenset[str]:
    """Return the permissions of the user on the team; empty for users outside the team."""
    rows = _IN_TEAM(user=user.pk, team=team.pk)
    return frozenset(row.permission.codename for row in rows)


def _granted(user: UUID | Parameter) -> QuerySet[TeamPermission]:
    granted = TeamPermission.objects.filter(user_id=user, user__is_active=True)
    found: QuerySet[TeamPermission] = granted.select_related("content_object", "permission")
    return found.annotate(has_mfa=mfa_enabled(user))


_IN_TEAM: Final = PreparedQuery(
    lambda user, team: _granted(user).filter(content_object=team, content_object__deleted_at=None),
    user=UUIDField(),
    team=UUIDField(),
)


def _check_rows(rows: list[Any], user: User, permission: str) -> Team:
    if not rows:
        raise NotFound
    team: Team = rows[0].content_object
    check_granted(rows, user, team, permission)
    return team
