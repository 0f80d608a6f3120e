"""The life of a room: made, changed, archived, deleted.

The audit is read by a team's admins, who do not see private rooms that they are not in. It tells
what was done to such a room by whom, with the ids of room, people and personas: admins answer for
who is let in where. What the room is called and what it is for, it does not tell.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Final, TypedDict, Unpack
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.audit.log import audit
from accounts.errors import NotFound
from accounts.models import Team, User
from accounts.names import clean_line, require_name
from accounts.permissions import CREATE_ROOM, access_team
from agents.services import create_demo_persona
from rooms.event_log import record
from rooms.models import AllowedRoom, AnswerPolicy, Privacy, Room, RoomRole
from rooms.permissions import MANAGE, access_room, lock_room, set_room_role
from rooms.protocol.events import RoomArchived, RoomChanged, RoomDeleted
from rooms.protocol.serializers import room_body
from rooms.runs.ending import cancel_runs
from rooms.services.members import add_members, hold_seats
from rooms.services.personas import bind, bindable, lock_personas

NAME_LENGTH: Final = 80
WORDS: Final = frozenset({"name", "topic"})
KEPT_AFTER_DELETION: Final = timedelta(days=1)


@transaction.atomic
def create_room(
    *,
    user: User,
    team_id: UUID,
    name: str,
    topic: str = "",
    privacy: str = Privacy.PRIVATE,
    answer_policy: str = AnswerPolicy.DEFAULT,
    personas: Collection[UUID] = (),
    default_persona: UUID | None = None,
    people: Collection[UUID] = (),
) -> Room:
    """Make a room that `user` owns. Raises NotFound for people and personas of another team."""
    team = access_team(user, team_id, CREATE_ROOM)
    bound = lock_personas(bindable(user, team.pk).filter(pk__in=personas, confined=False))
    if len(bound) != len(set(personas)) or (default_persona and default_persona not in personas):
        raise NotFound
    bound.sort(key=lambda persona: list(personas).index(persona.pk))
    owner, *others = hold_seats(team.pk, [user.pk, *people])
    room = Room.objects.create(
        team=team,
        name=require_name(name, max_length=NAME_LENGTH),
        topic=clean_line(topic),
        privacy=privacy,
        answer_policy=answer_policy,
        default_persona_id=default_persona,
    )
    add_members(room, [owner], RoomRole.OWNER)
    add_members(room, others, RoomRole.MEMBER)
    bind(room, bound)
    after = _told(room, ["name", "privacy"])
    after["personas"] = [str(persona.pk) for persona in bound]
    after["people"] = [str(person.pk) for person in others]
    audit(user, "room.created", room.pk, team_id=team.pk, after=after)
    return room


@transaction.atomic
def open_team(*, user: User, team_id: UUID) -> Room:
    """Give a new team its first room, with a persona that answers without any key."""
    persona = create_demo_persona(user=user, team_id=team_id)
    return create_room(user=user, team_id=team_id, name=str(_("lobby")), personas=[persona.pk])


class RoomChanges(TypedDict, total=False):
    """What may change about a room; what is left out stays."""

    name: str
    topic: str
    privacy: str
    answer_policy: str
    default_persona: UUID | None
    archived: bool


@transaction.atomic
def update_room(*, user: User, room_id: UUID, **changes: Unpack[RoomChanges]) -> Room:
    """Change a room. Raises NotFound for a default persona that is not bound to it.

    An archived room is opened first, and one that is to be archived is changed before.
    """
    archived = changes.pop("archived", None)
    if archived is False:
        restore_room(user=user, room_id=room_id)
    room = _change(user, room_id, changes) if changes else None
    if archived:
        room = archive_room(user=user, room_id=room_id)
    return room or access_room(user, room_id, MANAGE, even_archived=True)


@transaction.atomic
def archive_room(*, user: User, room_id: UUID) -> Room:
    """Close a room for writing, and stop what is being answered; nothing where it is closed."""
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    if room.archived_at is None:
        cancel_runs(room, user.pk)
        room.archived_at = timezone.now()
        room.save(update_fields=["archived_at"])
        record(room, RoomArchived(room_body(room)))
        audit(user, "room.archived", room.pk, team_id=room.team_id)
    return room


@transaction.atomic
def restore_room(*, user: User, room_id: UUID) -> Room:
    """Open an archived room again; nothing where it is open."""
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    if room.archived_at is not None:
        room.archived_at = None
        room.save(update_fields=["archived_at"])
        record(room, RoomChanged(room_body(room)))
        audit(user, "room.restored", room.pk, team_id=room.team_id)
    return room


@transaction.atomic
def delete_room(*, user: User, room_id: UUID) -> None:
    """Take a room away from everybody, at once and for ever."""
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    cancel_runs(room, user.pk)
    record(room, RoomDeleted())
    set_room_role(User.objects.filter(room_memberships__room=room), room, None)
    room.members.all().delete()
    room.bindings.all().delete()
    AllowedRoom.objects.filter(room=room).delete()
    room.deleted_at = timezone.now()
    room.save(update_fields=["deleted_at"])
    audit(user, "room.deleted", room.pk, team_id=room.team_id, before=_told(room, ["name"]))


def purge_rooms() -> int:
    """Take away what is left of deleted rooms; return how many.

    Their rows outlive them for a while: a socket whose process missed the deletion finds it in the
    log, and a worker that was answering finds its run cancelled.
    """
    over = Room.objects.filter(deleted_at__lt=timezone.now() - KEPT_AFTER_DELETION)
    found = list(over)
    for room in found:
        room.delete()
    return len(found)


@transaction.atomic
def close_rooms(*, team: Team, by: User) -> None:
    """Stop and shut every room of a team that is deleted; nothing in them changes."""
    for room in _locked_rooms(team):
        cancel_runs(room, by.pk)
        record(room, RoomDeleted())


@transaction.atomic
def reopen_rooms(*, team: Team) -> None:
    """Undo `close_rooms`."""
    for room in _locked_rooms(team):
        record(room, RoomChanged(room_body(room)))


def _change(user: User, room_id: UUID, changes: RoomChanges) -> Room:
    room = lock_room(user, room_id, MANAGE)
    persona_id = changes.get("default_persona")
    if persona_id and not room.bindings.filter(persona_id=persona_id).exists():
        raise NotFound
    if "name" in changes:
        changes["name"] = require_name(changes["name"], max_length=NAME_LENGTH)
    if "topic" in changes:
        changes["topic"] = clean_line(changes["topic"])
    before = _told(room, changes)
    for name, value in changes.items():
        setattr(room, "default_persona_id" if name == "default_persona" else name, value)
    room.save(update_fields=list(changes))
    record(room, RoomChanged(room_body(room)))
    after = {"fields": list(changes)} | _told(room, changes)
    audit(user, "room.changed", room.pk, team_id=room.team_id, before=before, after=after)
    return room


def _told(room: Room, names: Iterable[str]) -> dict[str, object]:
    """What the audit tells of a room as it is now."""
    told: dict[str, object] = {}
    for name in names:
        if name in WORDS and room.privacy == Privacy.PRIVATE:
            continue
        value = getattr(room, "default_persona_id" if name == "default_persona" else name)
        told[name] = None if value is None else str(value)
    return told


def _locked_rooms(team: Team) -> list[Room]:
    """Lock the rooms of a team, in the order in which everybody locks several of them."""
    rooms = Room.objects.select_for_update(of=("self",), no_key=True).filter(
        team=team, deleted_at=None
    )
    return list(rooms.order_by("pk"))
