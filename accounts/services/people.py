"""Reads the members of a team in parts: by name and handle, and in the order of pages."""

from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import TeamHandle, TeamMember, TeamRole
from accounts.names import typed_key

_ROLES: Final = (TeamRole.OWNER, TeamRole.ADMIN, TeamRole.MEMBER, TeamRole.GUEST)


def matching_members(
    members: QuerySet[TeamMember], team_id: UUID, words: str
) -> QuerySet[TeamMember]:
    """Filter the members of a team to those who have a name or a handle that begins with `words`.

    A later word of the name may begin with them, too. Without words, all members match.
    """
    key = typed_key(words)
    if not key:
        return members
    handle = key.removeprefix("@")
    handles = TeamHandle.objects.filter(team=team_id, handle__startswith=handle)
    by_handle = Q(user__in=handles.values("holder"))
    if handle != key:
        return members.filter(by_handle)
    by_name = Q(name_key__startswith=key) | Q(name_key__contains=f" {key}")
    return members.filter(by_name | by_handle)


def matching_users(team_id: UUID, words: str) -> QuerySet[TeamMember, Any]:
    """Return the ids of the users whom `matching_members` finds in a team, for `user__in`."""
    members = TeamMember.objects.filter(team=team_id)
    return matching_members(members, team_id, words).values("user")


def members_after(
    members: QuerySet[TeamMember], after: str, size: int
) -> tuple[list[TeamMember], bool]:
    """Return `size` members with their users, from owners to guests and by name in each role.

    `after` is the id of the member before the first one; an unknown id stands for the start. Also
    returns True if there are more members. Each role is a query of its own, which reads only the
    part of the index that it returns.
    """
    last = members.filter(pk=after).first() if after.isascii() and after.isdigit() else None
    found: list[TeamMember] = []
    for role in _ROLES[_ROLES.index(TeamRole(last.role)) if last else 0 :]:
        rows = members.filter(role=role).order_by("name_key", "pk")
        if last is not None and role == last.role:
            beyond = Q(name_key__gt=last.name_key) | Q(pk__gt=last.pk)
            rows = rows.filter(beyond, name_key__gte=last.name_key)
        found += rows.select_related("user")[: size + 1 - len(found)]
        if len(found) > size:
            break
    return found[:size], len(found) > size
