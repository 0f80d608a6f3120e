"""Creates, changes, archives and deletes rooms.

The admins of a team read its audit log and do not see private rooms that they are not in. An audit
entry of a private room therefore has the action, the actor and the ids of room, members and
personas, because admins are responsible for access. It contains neither the name nor the topic.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Final, TypedDict, Unpack
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit.log import audit, audit_last
from accounts.database import delete_in_batches
from accounts.errors import Conflict, NotFound
from accounts.models import Team, User
from accounts.names import clean_line, require_name
from accounts.permissions import CREATE_ROOM, MANAGE_PEOPLE, access_team, team_permissions
from agents.services import create_demo_persona
from rooms.event_log import record
from rooms.models import (
    AllowedRoom,
    AnswerPolicy,
    AnswersIn,
    Message,
    Privacy,
    Room,
    RoomEvent,
    RoomMember,
    RoomMode,
    RoomRole,
    RoomSummary,
    Run,
)
from rooms.permissions import MANAGE, access_room, lock_room, set_room_role
from rooms.protocol.events import RoomArchived, RoomChanged, RoomDeleted
from rooms.protocol.serializers import room_body
from rooms.runs.ending import cancel_all, cancel_idle
from rooms.runs.steps.open_approvals import recheck_approvals
from rooms.services.people.arrivals import welcome
from rooms.services.people.members import add_members, lock_team_members
from rooms.services.people.owners import ABANDONED_RETENTION
from rooms.services.personas import bind, bindable, lock_personas

NAME_LENGTH: Final = 80
HIDDEN_FIELDS: Final = frozenset({"name", "topic"})
RETENTION: Final = timedelta(days=1)
MAX_ROOMS_FOR_EVERYONE: Final = 10
"""The rooms that a new member of a team joins in one transaction."""
MAX_OWNED_ROOMS: Final = 200
"""The rooms that one user may own in a team: the list of open rooms is shown to every member."""


@transaction.atomic
def create_room(
    *,
    user: User,
    team_id: UUID,
    name: str,
    topic: str = "",
    privacy: str = Privacy.PRIVATE,
    answer_policy: str = AnswerPolicy.DEFAULT,
    persona_turns: int = 0,
    answers_in: str = AnswersIn.ROOM,
    mode: str = RoomMode.EACH,
    other_decides: bool = False,
    personas: Collection[UUID] = (),
    default_persona: UUID | None = None,
    lead: UUID | None = None,
    people: Collection[UUID] = (),
) -> Room:
    """Create a room that `user` owns, with `people` as members.

    The first open room of a team is for everyone, if `user` may invite people. Raises NotFound for
    users and personas of another team.
    """
    team = access_team(user, team_id, CREATE_ROOM)
    bound = lock_personas(bindable(user, team.pk).filter(pk__in=personas, confined=False))
    chosen = {default_persona, lead} - {None}
    if len(bound) != len(set(personas)) or not chosen <= set(personas):
        raise NotFound
    bound.sort(key=lambda persona: list(personas).index(persona.pk))
    owner, *others = lock_team_members(team.pk, [user.pk, *people])
    access_team(user, team_id, CREATE_ROOM)  # again under the lock, as `lock_room` does
    _check_may_own_more(user, team)
    room = Room.objects.create(
        team=team,
        name=require_name(name, max_length=NAME_LENGTH),
        topic=clean_line(topic),
        privacy=privacy,
        for_everyone=privacy == Privacy.TEAM and _is_first_open_room(user, team),
        answer_policy=answer_policy,
        persona_turns=persona_turns,
        answers_in=answers_in,
        mode=mode,
        other_decides=other_decides,
        default_persona_id=default_persona,
        lead_id=lead,
    )
    add_members(room, [owner], RoomRole.OWNER)
    add_members(room, others, RoomRole.MEMBER)
    bind(room, bound)
    after = _audit_facts(room, ["name", "privacy"])
    after["personas"] = [str(persona.pk) for persona in bound]
    after["people"] = [str(person.pk) for person in others]
    audit(user, "room.created", room.pk, team_id=team.pk, after=after)
    return room


@transaction.atomic
@audit_last()
def create_first_room(*, user: User, team_id: UUID) -> Room:
    """Create the first room of a team, which is for everyone, with a demo persona.

    The demo persona needs no key. The user gets the same welcome as the members who join later.
    """
    persona = create_demo_persona(user=user, team_id=team_id)
    room = create_room(
        user=user,
        team_id=team_id,
        name=str(_("lobby")),
        privacy=Privacy.TEAM,
        personas=[persona.pk],
    )
    welcome(room.members.get(user=user))
    return room


class RoomChanges(TypedDict, total=False):
    """The fields of a room that may change; fields that are left out keep their values."""

    name: str
    topic: str
    privacy: str
    for_everyone: bool
    answer_policy: str
    persona_turns: int
    answers_in: str
    mode: str
    lead: UUID | None
    other_decides: bool
    summarizes: bool
    default_persona: UUID | None
    archived: bool


@transaction.atomic
@audit_last()
def update_room(*, user: User, room_id: UUID, **changes: Unpack[RoomChanges]) -> Room:
    """Change a room. Raises NotFound for a default persona or a lead that is not bound to it.

    Only a user who may invite people into the team may set `for_everyone`. An archived room is
    restored before the other changes, and archived after them.
    """
    archived = changes.pop("archived", None)
    if changes.get("for_everyone"):
        _lock_team_of(user, room_id)
    if archived is False:
        restore_room(user=user, room_id=room_id)
    room = _change(user, room_id, changes) if changes else None
    if changes.get("summarizes") is False and room:
        RoomSummary.objects.drop_after(room, 0)
    if "other_decides" in changes and room:
        recheck_approvals(room)
    if archived:
        room = archive_room(user=user, room_id=room_id)
    return room or access_room(user, room_id, MANAGE, even_archived=True)


@transaction.atomic
def archive_room(*, user: User, room_id: UUID) -> Room:
    """Make a room read-only and cancel its active runs; a no-op for an archived room."""
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    if room.archived_at is None:
        cancel_all(room, user.pk)
        room.archived_at = timezone.now()
        room.save(update_fields=["archived_at"])
        record(room, RoomArchived(room_body(room)))
        audit(user, "room.archived", room.pk, team_id=room.team_id)
    return room


@transaction.atomic
def restore_room(*, user: User, room_id: UUID) -> Room:
    """Make an archived room writable again; nothing happens if it is not archived.

    Raises Conflict for a room for everyone if the team has MAX_ROOMS_FOR_EVERYONE others.
    """
    _lock_team_of(user, room_id)
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    if room.archived_at is not None:
        if room.for_everyone:
            _check_count_for_everyone(room)
        room.archived_at = None
        room.save(update_fields=["archived_at"])
        record(room, RoomChanged(room_body(room)))
        audit(user, "room.restored", room.pk, team_id=room.team_id)
    return room


def delete_room(*, user: User, room_id: UUID) -> None:
    """Delete a room: remove all members and permissions at once; `purge_rooms` deletes the row."""
    access_room(user, room_id, MANAGE, even_archived=True)
    cancel_queues([room_id], by=user)
    _delete_as(user, room_id)


def cancel_queues(rooms: Iterable[UUID], *, by: User) -> None:
    """Cancel the queued and waiting runs of rooms that will be deleted, in short transactions.

    The deletion locks the rooms while it ends their runs, and workers that start one of them wait.
    The deletion itself ends only what is queued meanwhile. Does nothing in a transaction of the
    caller (that of an Idempotency-Key), which would keep each lock: the deletion then ends all.
    """
    if connection.in_atomic_block:
        return
    for room_id in rooms:
        has_more = True
        while has_more:
            with transaction.atomic():
                room = Room.objects.locked().filter(pk=room_id, deleted_at=None).first()
                has_more = room is not None and cancel_idle(room, by.pk)


@transaction.atomic
def _delete_as(user: User, room_id: UUID) -> None:
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    cancel_all(room, user.pk)
    _delete(room)
    audit(user, "room.deleted", room.pk, team_id=room.team_id, before=_audit_facts(room, ["name"]))


def _delete(room: Room) -> None:
    record(room, RoomDeleted())
    set_room_role(User.objects.filter(room_memberships__room=room), room, None)
    room.members.all().delete()
    room.bindings.all().delete()
    AllowedRoom.objects.filter(room=room).delete()
    room.deleted_at = timezone.now()
    room.save(update_fields=["deleted_at"])


def purge_rooms() -> int:
    """Delete the rows of rooms that were deleted more than RETENTION ago; return their number.

    Until RETENTION has passed, a process that missed `room.deleted` can read it from the log, and a
    worker can read that its run is cancelled. Rooms that were abandoned more than
    ABANDONED_RETENTION ago are deleted first, so that their rows go RETENTION later.
    """
    _delete_abandoned_rooms()
    expired = Room.objects.filter(deleted_at__lt=timezone.now() - RETENTION)
    room_ids = list(expired.values_list("pk", flat=True))
    for room_id in room_ids:
        empty_room(room_id)
        Room.objects.filter(pk=room_id).delete()
    return len(room_ids)


def _delete_abandoned_rooms() -> None:
    abandoned_before = timezone.now() - ABANDONED_RETENTION
    expired = Room.objects.filter(abandoned_at__lt=abandoned_before, deleted_at=None)
    for room_id in list(expired.values_list("pk", flat=True)):
        with transaction.atomic():
            # The condition again, under the lock: the room may have been revived meanwhile.
            for room in expired.locked().filter(pk=room_id):
                _delete(room)
                audit(None, "room.deleted", room.pk, team_id=room.team_id)


def empty_room(room_id: UUID) -> None:
    """Delete the runs, messages and events of a room that no user can open any more, in batches."""
    delete_in_batches(Run.objects.filter(room=room_id))
    delete_in_batches(Message.objects.filter(room=room_id), key="seq")
    delete_in_batches(RoomEvent.objects.filter(room=room_id), key="seq")


@transaction.atomic
def close_rooms(*, team: Team, by: User) -> None:
    """Cancel the active runs of a deleted team's rooms, and record `room.deleted` in each.

    Members, permissions and messages are kept for `reopen_rooms`.
    """
    for room in _lock_rooms(team):
        cancel_all(room, by.pk)
        record(room, RoomDeleted())


@transaction.atomic
def reopen_rooms(*, team: Team) -> None:
    """Undo `close_rooms`."""
    for room in _lock_rooms(team):
        record(room, RoomChanged(room_body(room)))


def _change(user: User, room_id: UUID, changes: RoomChanges) -> Room:
    room = lock_room(user, room_id, MANAGE)
    for persona_id in filter(None, (changes.get("default_persona"), changes.get("lead"))):
        if not room.bindings.filter(persona_id=persona_id).exists():
            raise NotFound
    if "name" in changes:
        changes["name"] = require_name(changes["name"], max_length=NAME_LENGTH)
    if "topic" in changes:
        changes["topic"] = clean_line(changes["topic"])
    is_open = changes.get("privacy", room.privacy) == Privacy.TEAM
    if room.for_everyone and not is_open:
        changes.setdefault("for_everyone", False)
    if changes.get("for_everyone"):
        _check_for_everyone(user, room, is_open=is_open)
    before = _audit_facts(room, changes)
    for name, value in changes.items():
        setattr(room, _column(name), value)
    room.save(update_fields=list(changes))
    record(room, RoomChanged(room_body(room)))
    after = {"fields": list(changes)} | _audit_facts(room, changes)
    audit(user, "room.changed", room.pk, team_id=room.team_id, before=before, after=after)
    return room


def _check_for_everyone(user: User, room: Room, *, is_open: bool) -> None:
    """Raise unless `user` may add everyone who joins the team to the room, and the room is open."""
    if not is_open:
        raise Conflict(_("Only an open room can be for everyone. Choose who can join first."))
    if room.for_everyone:
        return
    access_team(user, room.team_id, MANAGE_PEOPLE)
    _check_count_for_everyone(room)


def _is_first_open_room(user: User, team: Team) -> bool:
    """Return True if the team has no open room, and `user` may decide where new members arrive."""
    if team.rooms.filter(privacy=Privacy.TEAM).exists():
        return False
    return MANAGE_PEOPLE in team_permissions(user, team)


def _lock_team_of(user: User, room_id: UUID) -> None:
    """Lock the team of a room, before the room, so that its rooms for everyone stay the same."""
    team_id = access_room(user, room_id, MANAGE, even_archived=True).team_id
    list(Team.objects.locked().filter(pk=team_id).values_list("pk"))


def _check_count_for_everyone(room: Room) -> None:
    """Raise Conflict if the team has too many rooms for everyone; its row is locked."""
    if Room.objects.joined_on_arrival(room.team_id).count() >= MAX_ROOMS_FOR_EVERYONE:
        raise Conflict(_("This team has 10 rooms for everyone. Change one of them first."))


def _check_may_own_more(user: User, team: Team) -> None:
    """Raise Conflict if the user owns MAX_OWNED_ROOMS rooms; the caller has locked the member."""
    owned = RoomMember.objects.filter(user=user, role=RoomRole.OWNER, room__team=team)
    if owned.count() >= MAX_OWNED_ROOMS:
        raise Conflict(
            _("You own %(count)s rooms in this team. Delete or hand over one first.")
            % {"count": MAX_OWNED_ROOMS}
        )


def _column(name: str) -> str:
    """Return the attribute of a room that holds a field; ids of personas are in `..._id`."""
    return f"{name}_id" if name in ("default_persona", "lead") else name


def _audit_facts(room: Room, names: Iterable[str]) -> dict[str, object]:
    """Return the current values of these fields, for the audit log; see the module docstring."""
    facts: dict[str, object] = {}
    for name in names:
        if name in HIDDEN_FIELDS and room.privacy == Privacy.PRIVATE:
            continue
        value = getattr(room, _column(name))
        facts[name] = None if value is None else str(value)
    return facts


def _lock_rooms(team: Team) -> list[Room]:
    """Lock the rooms of a team, ordered by id, as all transactions that lock several rooms do."""
    rooms = Room.objects.locked().filter(team=team, deleted_at=None)
    return list(rooms.order_by("pk"))
