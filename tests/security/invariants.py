"""Conditions that hold after every transaction; checked after each test."""

from django.db.models import Exists, OuterRef

from accounts.models import Team, TeamHandle, TeamMember, TeamPermission, TeamRole, User
from accounts.names import handle_key
from agents.models import Persona, PersonaGrant
from rooms.models import Privacy, Room, RoomMember, RoomPermission


def violations() -> list[str]:
    """Return a description of each row that violates a condition."""
    return [*orphaned_permissions(), *without_owner(), *lost_handles()]


def orphaned_permissions() -> list[str]:
    """Return each permission whose user has no membership for it, or a suspended one."""
    team_members = TeamMember.objects.filter(user=OuterRef("user"))
    in_team = team_members.filter(team=OuterRef("content_object"), suspended_at=None)
    room_members = RoomMember.objects.filter(user=OuterRef("user"))
    in_room = room_members.filter(room=OuterRef("content_object"), suspended=False)
    in_team_of_object = team_members.filter(team=OuterRef("content_object__team"))
    found = [
        *TeamPermission.objects.exclude(Exists(in_team)),
        *RoomPermission.objects.exclude(Exists(in_room)),
        *RoomPermission.objects.exclude(Exists(in_team_of_object.filter(suspended_at=None))),
        *PersonaGrant.objects.filter(user__isnull=False).exclude(Exists(in_team_of_object)),
    ]
    return [f"{type(row).__name__} {row.pk}: {row.permission.codename}" for row in found]


def without_owner() -> list[str]:
    """Return each team with active members, and each live room, that no active member manages."""
    managers = RoomMember.objects.filter(
        room=OuterRef("pk"),
        suspended=False,
        user__is_active=True,
        user__roompermission__content_object=OuterRef("pk"),
        user__roompermission__permission__codename="manage",
        user__memberships__team=OuterRef("team"),
        user__memberships__suspended_at=None,
    )
    live = Room.objects.filter(deleted_at=None, team__deleted_at=None)
    rooms = live.filter(abandoned_at=None).exclude(Exists(managers))
    abandoned = live.filter(abandoned_at__isnull=False)
    members = TeamMember.objects.active().filter(team=OuterRef("pk"))
    team_owners = TeamMember.objects.active().filter(team=OuterRef("team"), role=TeamRole.OWNER)
    teams = Team.objects.filter(Exists(members), deleted_at=None)
    return [
        *(f"room {room.pk} without an owner" for room in rooms),
        *(
            f"abandoned room {room.pk} with a manager"
            for room in abandoned.filter(Exists(managers))
        ),
        *(
            f"abandoned room {room.pk} with an owner of its team"
            for room in abandoned.filter(Exists(team_owners), privacy=Privacy.TEAM)
        ),
        *(f"abandoned room {room.pk} is writable" for room in abandoned.filter(archived_at=None)),
        *(
            f"team {team.pk} without an owner"
            for team in teams.exclude(Exists(members.filter(role=TeamRole.OWNER)))
        ),
    ]


def lost_handles() -> list[str]:
    """Return the differences between the table of handles and the members and personas.

    A handle of an account that was deleted outside of the services may remain.
    """
    holders = [
        *TeamMember.objects.values_list("team", "user", "user__handle"),
        *Persona.objects.values_list("team", "pk", "handle"),
    ]
    expected = {(team, holder, handle_key(handle)) for team, holder, handle in holders}
    existing = {*User.objects.values_list("pk", flat=True), *(holder for _, holder, _ in expected)}
    rows = TeamHandle.objects.values_list("team", "holder", "handle")
    stored = {row for row in rows if row[1] in existing}
    return [f"handle {handle} of {holder}" for _team, holder, handle in expected ^ stored]
