"""Permissions without the membership that granted them; checked after each test."""

from django.db.models import Exists, OuterRef

from accounts.models import TeamMember, TeamPermission
from agents.models import PersonaGrant
from rooms.models import RoomMember, RoomPermission


def orphaned_permissions() -> list[str]:
    """Return a description of each permission whose user has no active membership for it."""
    team_members = TeamMember.objects.filter(user=OuterRef("user"))
    in_team = team_members.active().filter(team=OuterRef("content_object"))
    room_members = RoomMember.objects.active().filter(user=OuterRef("user"))
    in_room = room_members.filter(room=OuterRef("content_object"))
    in_team_of_object = team_members.filter(team=OuterRef("content_object__team"))
    found = [
        *TeamPermission.objects.exclude(Exists(in_team)),
        *RoomPermission.objects.exclude(Exists(in_room)),
        *RoomPermission.objects.exclude(Exists(in_team_of_object.active())),
        *PersonaGrant.objects.filter(user__isnull=False).exclude(Exists(in_team_of_object)),
    ]
    return [f"{type(row).__name__} {row.pk}: {row.permission.codename}" for row in found]
