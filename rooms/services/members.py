"""Who is in a room: let in, changed, taken out.

A room keeps an owner, whatever becomes of people. A guest owns one only where an owner has made
them so, or where nobody else is left; they see no more of the team for that.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TypedDict, Unpack
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.audit.log import audit
from accounts.errors import Conflict, Forbidden, MaruError, NotFound
from accounts.models import Invitation, Team, TeamMember, TeamRole, User
from accounts.services import invite
from rooms.event_log import record
from rooms.models import InvitedRoom, Room, RoomMember, RoomRole
from rooms.permissions import MANAGE, VIEW, access_open_room, access_room, lock_room, set_room_role
from rooms.protocol.events import MemberAdded, MemberChanged, MemberRemoved
from rooms.protocol.serializers import member_body
from rooms.runs.ending import fail_unauthorized_runs


class InvitationWish(TypedDict, total=False):
    """What an invitation may say beside whom it is for."""

    role: str
    lifetime: timedelta
    max_uses: int
    email: str


@transaction.atomic
def put_member(*, user: User, room_id: UUID, member_id: UUID, role: str) -> RoomMember:
    """Add somebody of the room's team, or change their role. The last owner stays owner."""
    room = lock_room(user, room_id, MANAGE)
    member = _member(room, member_id)
    if member is None:
        member = add_members(room, hold_seats(room.team_id, [member_id]), role)[0]
        after = {"user": str(member_id), "role": role}
        audit(user, "room.member_added", room.pk, team_id=room.team_id, after=after)
    elif member.role != role:
        _keep_an_owner(room, member)
        before = {"user": str(member_id), "role": member.role}
        _set_role(room, member, role)
        after = {"user": str(member_id), "role": role}
        team_id = room.team_id
        audit(user, "room.member_changed", room.pk, team_id=team_id, before=before, after=after)
    return member


@transaction.atomic
def join_room(*, user: User, room_id: UUID, role: str = RoomRole.MEMBER) -> RoomMember:
    """Come into a room that is open to its team; nothing for who is in it. Nobody rises by it."""
    team = access_open_room(user, room_id)
    if role not in (RoomRole.MEMBER, RoomRole.READER):
        raise Forbidden(_("Whoever joins comes in as a member."), team_id=team.pk)
    room = Room.objects.select_for_update(of=("self",), no_key=True).get(pk=room_id)
    access_open_room(user, room_id)  # again behind the lock, as `lock_room` does
    member = _member(room, user.pk)
    if member is None:
        member = add_members(room, hold_seats(room.team_id, [user.pk]), role)[0]
        after = {"user": str(user.pk), "role": role}
        audit(user, "room.member_added", room.pk, team_id=room.team_id, after=after)
    return member


def joinable_rooms(user: User, team: Team) -> QuerySet[Room]:
    """Return the open rooms of the team that `user` is not in; the caller has asked the gate."""
    mine = RoomMember.objects.filter(user=user)
    return Room.objects.open_to_team().filter(team=team).exclude(pk__in=mine.values("room"))


@transaction.atomic
def invite_into_rooms(
    *, user: User, team_id: UUID, room_ids: Collection[UUID], **wish: Unpack[InvitationWish]
) -> tuple[Invitation, str]:
    """Like `accounts.services.invite`; who accepts comes into these rooms, too, as a member."""
    rooms = [access_room(user, room_id, MANAGE) for room_id in dict.fromkeys(room_ids)]
    if any(room.team_id != team_id for room in rooms):
        raise NotFound
    invitation, token = invite(user=user, team_id=team_id, **wish)
    InvitedRoom.objects.bulk_create(InvitedRoom(invitation=invitation, room=r) for r in rooms)
    return invitation, token


@transaction.atomic
def enter_invited_rooms(*, person: User, invitation: Invitation) -> None:
    """Let whoever has accepted an invitation into its rooms, where its maker still may."""
    entered: list[Room] = []
    for invited in invitation.rooms.order_by("room_id"):
        try:
            room = lock_room(invitation.invited_by, invited.room_id, MANAGE)
        except MaruError:
            continue  # no promise is kept that its maker could not make today
        add_members(room, [person], RoomRole.MEMBER)
        entered.append(room)
    after = {"user": str(person.pk), "role": RoomRole.MEMBER.value}
    for room in entered:
        audit(person, "room.member_added", room.pk, team_id=room.team_id, after=after)


@transaction.atomic
def hand_over_room(*, user: User, room_id: UUID, member_id: UUID) -> None:
    """Make somebody else owner and step down to member, in one go."""
    room = lock_room(user, room_id, MANAGE)
    heir = _member(room, member_id)
    own = _member(room, user.pk)
    if heir is None or own is None:
        raise NotFound
    if heir == own:
        raise Conflict(_("You are an owner already."))
    _set_role(room, heir, RoomRole.OWNER)
    _set_role(room, own, RoomRole.MEMBER)
    after = {"owner": str(member_id)}
    audit(user, "room.handed_over", room.pk, team_id=room.team_id, after=after)


@transaction.atomic
def remove_member(*, user: User, room_id: UUID, member_id: UUID) -> None:
    """Take somebody out of the room; everybody may take out themselves."""
    needs = VIEW if member_id == user.pk else MANAGE
    room = lock_room(user, room_id, needs, even_archived=True)
    member = _member(room, member_id)
    if member is None:
        raise NotFound
    _keep_an_owner(room, member)
    _take_out(room, member)
    before = {"user": str(member_id), "role": member.role}
    audit(user, "room.member_removed", room.pk, team_id=room.team_id, before=before)


@transaction.atomic
def leave_rooms(*, member: User, team_id: UUID, privacy: str | None = None) -> None:
    """Take somebody out of the rooms of a team, or of those that are private or open.

    The caller has asked the team's gate. A room whose last owner leaves goes to whoever has been in
    it longest.
    """
    left: list[Room] = []
    for room, membership in _rooms_with(member, team_id):
        if privacy in (None, room.privacy):
            _take_out(room, membership)
            left.append(room)
    _keep_owned(left)


@transaction.atomic
def suspend_from_rooms(*, member: User, team_id: UUID) -> None:
    """Take the rooms of a team from somebody who may come back to them."""
    left: list[Room] = []
    for room, membership in _rooms_with(member, team_id):
        membership.suspended = True
        membership.save(update_fields=["suspended"])
        set_room_role([member], room, None)
        record(room, MemberRemoved(member.pk))
        fail_unauthorized_runs(room)
        left.append(room)
    _keep_owned(left)


@transaction.atomic
def return_to_rooms(*, member: User, team_id: UUID) -> None:
    """Give somebody back the rooms of a team that `suspend_from_rooms` took."""
    for room, membership in _rooms_with(member, team_id):
        membership.suspended = False
        membership.save(update_fields=["suspended"])
        set_room_role([member], room, membership.role)
        record(room, MemberAdded(member_body(membership)))


@transaction.atomic
def show_member(user: User) -> None:
    """Tell the rooms of somebody how they are called and coloured now."""
    places = RoomMember.objects.active().filter(user=user).order_by("room_id")
    for room_id in list(places.values_list("room_id", flat=True)):
        room = Room.objects.select_for_update(of=("self",), no_key=True).get(pk=room_id)
        member = _member(room, user.pk)
        if member is not None:
            record(room, MemberChanged(member_body(member)))


def hold_seats(team_id: UUID, user_ids: Sequence[UUID]) -> list[User]:
    """Return people of the team, who stay in it until the transaction ends; NotFound for others.

    A removal takes the seat before it looks for rooms: one of the two sees the other. Seats are
    taken in one order, and before the audit, as a removal does.
    """
    seats = TeamMember.objects.select_for_update(of=("self",), no_key=True).select_related("user")
    active = seats.filter(team=team_id, suspended_at=None, user__is_active=True)
    held = {seat.user_id: seat.user for seat in active.filter(user__in=user_ids).order_by("pk")}
    try:
        return [held[user_id] for user_id in dict.fromkeys(user_ids)]
    except KeyError:
        raise NotFound from None


def add_members(room: Room, users: Sequence[User], role: str) -> list[RoomMember]:
    """Add people of the room's team, within the caller's transaction and after its checks."""
    if not users:
        return []
    members = RoomMember.objects.bulk_create(
        [RoomMember(room=room, user=user, role=role, read_seq=room.last_seq) for user in users]
    )
    set_room_role(users, room, role)
    record(room, *(MemberAdded(member_body(member)) for member in members))
    return members


def _member(room: Room, user_id: UUID) -> RoomMember | None:
    return room.members.active().select_related("user").filter(user_id=user_id).first()


def _set_role(room: Room, member: RoomMember, role: str) -> None:
    member.role = role
    member.save(update_fields=["role"])
    set_room_role([member.user], room, role)
    record(room, MemberChanged(member_body(member)))
    fail_unauthorized_runs(room)


def _take_out(room: Room, member: RoomMember) -> None:
    """Whoever is suspended has been taken out of the log already."""
    member.delete()
    set_room_role([member.user], room, None)
    if not member.suspended:
        record(room, MemberRemoved(member.user_id))
        fail_unauthorized_runs(room)


def _rooms_with(user: User, team_id: UUID) -> Iterator[tuple[Room, RoomMember]]:
    """Yield the rooms of a team that somebody has a place in, each locked, with that place."""
    places = RoomMember.objects.filter(user=user, room__team=team_id).order_by("room_id")
    for room_id in list(places.values_list("room_id", flat=True)):
        room = Room.objects.select_for_update(of=("self",), no_key=True).get(pk=room_id)
        member = room.members.select_related("user").filter(user=user).first()
        if member is not None:
            yield room, member


def _keep_owned(rooms: Iterable[Room]) -> None:
    """Give each room without an owner to whoever has been in it longest, to guests last.

    The rooms are locked, and what is written into the audit comes after all of that.
    """
    heirs = [(room, heir) for room in rooms if (heir := _heir(room)) is not None]
    for room, heir in heirs:
        _set_role(room, heir, RoomRole.OWNER)
    for room, heir in heirs:
        after = {"owner": str(heir.user_id)}
        audit(None, "room.inherited", room.pk, team_id=room.team_id, after=after)


def _heir(room: Room) -> RoomMember | None:
    """Return who is to own a room from now on; None where somebody does, or nobody is left."""
    members = room.members.active().select_related("user")
    if members.filter(role=RoomRole.OWNER).exists():
        return None
    guests = TeamMember.objects.filter(team=room.team_id, role=TeamRole.GUEST)
    is_guest = Exists(guests.filter(user=OuterRef("user")))
    return members.order_by(is_guest, "joined_at", "pk").first()


def _keep_an_owner(room: Room, member: RoomMember) -> None:
    owners = room.members.active().filter(role=RoomRole.OWNER).exclude(pk=member.pk)
    if member.role == RoomRole.OWNER and not owners.exists():
        raise Conflict(_("A room needs an owner. Make somebody else owner first."))
