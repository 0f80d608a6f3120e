"""Rights that have outlived what they came from (TEN-18): after no test is there one."""

from django.db.models import Exists, OuterRef

from accounts.models import TeamMember, TeamPermission
from agents.models import PersonaGrant
from rooms.models import RoomMember, RoomPermission


def orphaned_permissions() -> list[str]:
    """Name the permissions of those who have no place where they hold, or lost it."""
    seats = TeamMember.objects.filter(user=OuterRef("user"))
    in_team = seats.active().filter(team=OuterRef("content_object"))
    places = RoomMember.objects.active().filter(user=OuterRef("user"))
    in_room = places.filter(room=OuterRef("content_object"))
    near = seats.filter(team=OuterRef("content_object__team"))
    found = [
        *TeamPermission.objects.exclude(Exists(in_team)),
        *RoomPermission.objects.exclude(Exists(in_room)),
        *RoomPermission.objects.exclude(Exists(near.active())),
        *PersonaGrant.objects.filter(user__isnull=False).exclude(Exists(near)),
    ]
    return [f"{type(one).__name__} {one.pk}: {one.permission.codename}" for one in found]
