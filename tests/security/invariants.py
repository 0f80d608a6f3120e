"""Conditions that hold after every transaction; checked after each test."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from accounts.models import Team, TeamHandle, TeamMember, TeamPermission, TeamRole, User
from accounts.names import handle_key
from agents.models import Persona, PersonaGrant
from rooms.models import Privacy, Room, RoomMember, RoomPermission

Compiled = tuple[str, tuple[Any, ...]]


def violations() -> list[str]:
    """Return a description of each row that violates a condition."""
    return [*orphaned_permissions(), *_found(_without_owner()), *lost_handles()]


def orphaned_permissions() -> list[str]:
    """Return each permission whose user has no membership for it, or a suspended one."""
    return _found(_orphaned_permissions())


def lost_handles() -> list[str]:
    """Return the differences between the table of handles and the members and personas.

    A handle of an account that was deleted outside of the services may remain.
    """
    read = {name: _rows(compiled) for name, compiled in _handles().items()}
    holders = [*read["members"], *read["personas"]]
    expected = {(team, holder, handle_key(handle)) for team, holder, handle in holders}
    existing = {*(user for (user,) in read["users"]), *(holder for _, holder, _ in expected)}
    stored = {row for row in read["stored"] if row[1] in existing}
    return [f"handle {handle} of {holder}" for _team, holder, handle in expected ^ stored]


# Compiled once: after each of thousands of tests, Django would take longer to compile these queries
# than SQLite takes to execute them.


@cache
def _orphaned_permissions() -> Mapping[str, Compiled]:
    team_members = TeamMember.objects.filter(user=OuterRef("user"))
    in_team = team_members.filter(team=OuterRef("content_object"), suspended_at=None)
    room_members = RoomMember.objects.filter(user=OuterRef("user"))
    in_room = room_members.filter(room=OuterRef("content_object"), suspended=False)
    in_team_of_object = team_members.filter(team=OuterRef("content_object__team"))
    active = in_team_of_object.filter(suspended_at=None)
    grants = PersonaGrant.objects.filter(user__isnull=False)
    return _compile_all(
        {
            "permission in a team without membership": TeamPermission.objects.exclude(
                Exists(in_team)
            ),
            "permission in a room without membership": RoomPermission.objects.exclude(
                Exists(in_room)
            ),
            "permission in a room of another team": RoomPermission.objects.exclude(Exists(active)),
            "grant without membership": grants.exclude(Exists(in_team_of_object)),
        }
    )


@cache
def _without_owner() -> Mapping[str, Compiled]:
    """Teams with active members, and live rooms, that no active member manages."""
    managers = RoomMember.objects.filter(
        room=OuterRef("pk"),
        suspended=False,
        user__is_active=True,
        user__roompermission__content_object=OuterRef("pk"),
        user__roompermission__permission__codename="manage",
        user__memberships__team=OuterRef("team"),
        user__memberships__suspended_at=None,
    )
    members_of_room = RoomMember.objects.active().filter(room=OuterRef("pk"))
    live = Room.objects.filter(deleted_at=None, team__deleted_at=None)
    abandoned = live.filter(abandoned_at__isnull=False)
    members = TeamMember.objects.active().filter(team=OuterRef("pk"))
    team_owners = TeamMember.objects.active().filter(team=OuterRef("team"), role=TeamRole.OWNER)
    teams = Team.objects.filter(Exists(members), deleted_at=None)
    return _compile_all(
        {
            "room without an owner": live.filter(abandoned_at=None, direct=False).exclude(
                Exists(managers)
            ),
            "direct room without members": live.filter(abandoned_at=None, direct=True).exclude(
                Exists(members_of_room)
            ),
            "direct room with an owner": live.filter(Exists(managers), direct=True),
            "abandoned room with a manager": abandoned.filter(Exists(managers)),
            "abandoned room with an owner of its team": abandoned.filter(
                Exists(team_owners), privacy=Privacy.TEAM
            ),
            "abandoned room that is writable": abandoned.filter(archived_at=None),
            "team without an owner": teams.exclude(Exists(members.filter(role=TeamRole.OWNER))),
        }
    )


@cache
def _handles() -> Mapping[str, Compiled]:
    return {
        name: _compile(rows)
        for name, rows in {
            "members": TeamMember.objects.values_list("team", "user", "user__handle"),
            "personas": Persona.objects.values_list("team", "pk", "handle"),
            "users": User.objects.values_list("pk"),
            "stored": TeamHandle.objects.values_list("team", "holder", "handle"),
        }.items()
    }


def _compile_all(conditions: Mapping[str, QuerySet[Any]]) -> Mapping[str, Compiled]:
    return {name: _compile(rows.values_list("pk")) for name, rows in conditions.items()}


def _compile(rows: QuerySet[Any, Any]) -> Compiled:
    return rows.query.sql_with_params()


def _found(conditions: Mapping[str, Compiled]) -> list[str]:
    return [f"{name}: {pk}" for name, query in conditions.items() for (pk,) in _rows(query)]


def _rows(query: Compiled) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(*query)
        rows: list[Any] = cursor.fetchall()
    return rows
