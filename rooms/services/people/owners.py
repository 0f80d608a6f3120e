"""Owners of rooms: no live room is without an active member who can manage it, except direct rooms.

The services of rooms refuse to remove the last owner. An owner can still be lost with the
membership in the team, by a suspension, by a role in the team that does not allow the room, or with
the account. Then the room passes on, in the same transaction:

1. to the active member of the room who joined it first, guests last;
2. if no active member is left, an open room passes to the team owner who joined the team first;
3. a private room is abandoned: archived, and purged after ABANDONED_RETENTION unless one of its
   members becomes active again. No other user gets access to it, because admins do not see private
   rooms that they are not in. An open room of a team without active owner is abandoned too, and
   passes on as soon as the team has an active owner.

`accounts.models.active_member` defines who is active. Every caller holds the lock of the team, so
that its members cannot change, and the locks of the rooms.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.audit.log import audit, audit_last
from accounts.models import Team, TeamMember, TeamRole
from accounts.services.teams import pass_on_ownerless_teams
from rooms.event_log import record
from rooms.models import Privacy, Room, RoomMember, RoomRole
from rooms.protocol.events import RoomArchived, RoomChanged
from rooms.protocol.serializers import room_body
from rooms.runs.steps.open_approvals import recheck_approvals
from rooms.services.people.members import add_members, set_role

log = structlog.get_logger(__name__)

ABANDONED_RETENTION: Final = timedelta(days=30)


def pass_on_ownerless_rooms(rooms: Collection[Room]) -> None:
    """Give each locked room without an active owner another one, or abandon it."""
    ids = [room.pk for room in rooms]
    ownerless = set(ownerless_rooms().filter(pk__in=ids).values_list("pk", flat=True))
    for room in rooms:
        if room.pk in ownerless:
            _pass_on(room)


def revive(room: Room) -> None:
    """Undo the abandonment of a locked room that has an active member or an heir again."""
    if room.abandoned_at is None:
        return
    if room.archived_at == room.abandoned_at:  # it was not archived before
        room.archived_at = None
    room.abandoned_at = None
    room.save(update_fields=["archived_at", "abandoned_at"])
    record(room, RoomChanged(room_body(room)))
    audit(None, "room.revived", room.pk, team_id=room.team_id)


def repair_owners() -> int:
    """Pass on all teams and rooms without an active owner; return the number of rooms.

    Repairs rows that earlier versions or commands outside of the services have left. A team that
    fails is logged, and the other teams are repaired.
    """
    repaired = 0
    owned = TeamMember.objects.active().filter(team=OuterRef("pk"), role=TeamRole.OWNER)
    concerned = Q(pk__in=ownerless_rooms().values("team")) | ~Exists(owned)
    teams = Team.objects.filter(concerned, deleted_at=None).order_by("pk")
    for team_id in list(teams.values_list("pk", flat=True)):
        try:
            repaired += _repair_owners_of(team_id)
        except Exception as error:  # the next purge repairs the team
            name = type(error).__name__
            log.warning("owners.not_repaired", team=str(team_id), error=name, exc_info=True)
    return repaired


@transaction.atomic
@audit_last()
def _repair_owners_of(team_id: UUID) -> int:
    teams = list(Team.objects.locked().filter(pk=team_id, deleted_at=None))
    pass_on_ownerless_teams(teams)
    ownerless = ownerless_rooms().filter(team__in=teams)
    locked = Room.objects.locked().filter(pk__in=ownerless.values("pk"))
    rooms = list(locked.order_by("pk"))
    pass_on_ownerless_rooms(rooms)
    for room in rooms:
        recheck_approvals(room)
    return len(rooms)


def ownerless_rooms() -> QuerySet[Room]:
    """Return the rooms, not deleted, in which no active member is an owner.

    Without the abandoned rooms that have no heir, and without direct rooms with an active member,
    which need no owner.
    """
    members = RoomMember.objects.active().filter(room=OuterRef("pk"))
    team_owners = TeamMember.objects.active().filter(team=OuterRef("team"), role=TeamRole.OWNER)
    has_heir = Exists(members) | Q(Exists(team_owners), privacy=Privacy.TEAM)
    owners = members.filter(role=RoomRole.OWNER)
    rooms = Room.objects.filter(~Exists(owners), Q(abandoned_at=None) | has_heir, deleted_at=None)
    return rooms.exclude(Exists(members), direct=True)


def _pass_on(room: Room) -> None:
    if heir := _heir(room):
        revive(room)
        set_role(room, heir, RoomRole.OWNER)
    elif room.privacy == Privacy.TEAM and (owner := _team_owner(room)):
        revive(room)
        (heir,) = add_members(room, [owner.user], RoomRole.OWNER)
    else:
        _abandon(room)
        return
    after = {"owner": str(heir.user_id)}
    audit(None, "room.inherited", room.pk, team_id=room.team_id, after=after)


def _heir(room: Room) -> RoomMember | None:
    """Return the active member of a room who joined it first, guests last; None without members."""
    guests = TeamMember.objects.filter(team=room.team_id, role=TeamRole.GUEST)
    is_guest = Exists(guests.filter(user=OuterRef("user")))
    members = room.members.active().select_related("user")
    return members.order_by(is_guest, "joined_at", "pk").first()


def _team_owner(room: Room) -> TeamMember | None:
    owners = TeamMember.objects.active().filter(team=room.team_id, role=TeamRole.OWNER)
    return owners.select_related("user").order_by("joined_at", "pk").first()


def _abandon(room: Room) -> None:
    room.abandoned_at = timezone.now()
    if room.archived_at is None:
        room.archived_at = room.abandoned_at
        record(room, RoomArchived(room_body(room)))
    room.save(update_fields=["archived_at", "abandoned_at"])
    audit(None, "room.abandoned", room.pk, team_id=room.team_id)
