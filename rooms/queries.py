"""Reads that assemble several tables: the state of a room, a page of messages, direct rooms."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.utils.translation import gettext as _
from msgspec import structs

from accounts.models import User
from accounts.services.people import matching_users
from rooms.models import (
    AuthorKind,
    Message,
    Room,
    RoomMember,
    RoomPersona,
    RoomRole,
    Run,
    RunState,
    Vote,
)
from rooms.protocol.payloads import MessageBody, RoomState, RunBody
from rooms.protocol.serializers import (
    member_body,
    message_body,
    persona_body,
    pinned_body,
    room_body,
    run_body,
)
from rooms.runs import queue

PAGE: Final = 50
BESIDE: Final = 25
"""The maximum number of messages before, and of messages after, the message of a link."""
MEMBERS: Final = 100
"""The maximum number of members in a state."""
MAX_BYTES: Final = 2**20
"""The maximum size of the messages in a state or in a page of a list, if they are several."""


def room_state(
    room: Room,
    permissions: list[str],
    before: int | None = None,
    present: Collection[UUID] = (),
    around: Message | None = None,
) -> RoomState:
    """Return the room: the newest messages, first members, personas, active runs and pins.

    With `before`, the messages are those before that seq; with `around`, those before and after a
    message. Then the active runs are left out. `present` are users who are online.
    """
    if around is not None:
        messages, complete = messages_around(room, around)
    else:
        messages, complete = newest_messages(room, before)
    runs = _active_runs(room) if before is None and around is None else []
    authors = [m.author.id for m in messages if m.author.kind == AuthorKind.USER]
    asking = [run.requested_by for run in runs]
    members, count = first_members(room, {*authors, *asking} - {None}, present)
    return RoomState(
        room=room_body(room, count),
        members=[member_body(member) for member in members],
        members_complete=len(members) == count,
        personas=[persona_body(b.persona) for b in room.bindings.select_related("persona")],
        permissions=permissions,
        messages=messages,
        messages_complete=complete,
        runs=runs,
        pins=[pinned_body(message) for message in pinned_messages(room).order_by("-pinned_seq")],
    )


def pinned_messages(room: Room) -> QuerySet[Message]:
    """Return the pinned messages of a room."""
    return room.messages.filter(pinned_seq__isnull=False)


def first_members(
    room: Room, recent: Collection[UUID | None] = (), present: Collection[UUID] = ()
) -> tuple[list[RoomMember], int]:
    """Return the members of a state, and the number of all members.

    Up to MEMBERS members are returned in the order of joining. Of more members, MEMBERS are
    returned: owners, moderators, `recent` and `present` users, then the others by id.
    """
    members = room.members.active().select_related("user")
    by_id = list(members.order_by("user_id")[: MEMBERS + 1])
    if len(by_id) <= MEMBERS:
        return sorted(by_id, key=lambda member: (member.joined_at, member.pk)), len(by_id)
    ranks = [
        Q(role=RoomRole.OWNER),
        Q(role=RoomRole.MODERATOR),
        Q(user__in=recent),
        Q(user__in=present),
    ]
    cases = [When(condition, then=Value(rank)) for rank, condition in enumerate(ranks)]
    ranked = members.annotate(rank=Case(*cases, output_field=IntegerField()))
    preferred = ranked.filter(rank__isnull=False).order_by("rank", "user_id")[:MEMBERS]
    chosen = {member.user_id: member for member in [*preferred, *by_id]}
    return list(chosen.values())[:MEMBERS], members.count()


class Companion(NamedTuple):
    """Another user, or a persona, of a direct room; a persona has a pigment and a lattice."""

    id: UUID
    name: str
    handle: str
    wood: str
    pigment: str
    lattice: str


def companions(user: User, rooms: Collection[UUID]) -> dict[UUID, list[Companion]]:
    """Return the companions of `user` in direct rooms, people first and by name; one query."""
    if not rooms:
        return {}
    people = RoomMember.objects.active().filter(room__in=rooms).exclude(user=user)
    personas = RoomPersona.objects.filter(room__in=rooms).order_by()
    none = Value("")
    rows = people.values_list(
        *("room_id", "user_id", "user__name", "user__handle", "user__wood"), none, none
    ).union(
        personas.values_list(
            *("room_id", "persona_id", "persona__name", "persona__handle"),
            *(none, "persona__pigment", "persona__lattice"),
        ),
        all=True,
    )
    found: dict[UUID, list[Companion]] = defaultdict(list)
    for room_id, *values in rows:
        found[room_id].append(Companion(*values))
    for each in found.values():
        each.sort(key=lambda one: (bool(one.pigment), one.name.casefold(), one.id))
    return found


def direct_name(others: Sequence[Companion]) -> str:
    """Return the name of a direct room for a user: the names of the companions."""
    return ", ".join(one.name for one in others) or _("Only you")


def name_direct_rooms(user: User, rooms: Sequence[Room]) -> None:
    """Set the name of each direct room to its name for `user`, without saving it."""
    direct = [room for room in rooms if room.direct]
    found = companions(user, [room.pk for room in direct])
    for room in direct:
        room.name = direct_name(found.get(room.pk, ()))


def members_like(room: Room, words: str) -> QuerySet[RoomMember]:
    """Return the active members whom `matching_users` finds; all without words."""
    members = room.members.active()
    return members.filter(user__in=matching_users(room.team_id, words)) if words else members


def _active_runs(room: Room) -> list[RunBody]:
    runs = list(room.runs.active().order_by("queued_at", "pk"))
    is_queued = any(run.state == RunState.QUEUED for run in runs)
    positions = queue.positions(room) if is_queued else {}
    return [run_body(run, positions.get(run.pk)) for run in runs]


def newest_messages(room: Room, before: int | None = None) -> tuple[list[MessageBody], bool]:
    """Return the newest messages (before seq `before`, if given), oldest first.

    Also return True if there are no earlier ones. At most PAGE messages of MAX_BYTES are returned.
    """
    messages = room.messages.current().order_by("-seq")
    if before is not None:
        messages = messages.filter(seq__lt=before)
    found = list(messages[: PAGE + 1])
    shown = within_bytes(found[:PAGE])
    return bodies(shown[::-1]), len(shown) == len(found)


def is_among_newest(room: Room, message: Message) -> bool:
    """Return True if the newest PAGE messages of the room contain the message."""
    later = room.messages.current().filter(seq__gt=message.seq).order_by("seq")
    return len(later.values_list("seq")[:PAGE]) < PAGE


def versions_of(room: Room, message: Message) -> list[Message]:
    """Return all versions of an answer, oldest first; one query for each other version."""
    found = [message]
    while (before := found[0].replaces) is not None:
        found.insert(0, room.messages.get(pk=before))
    while (after := found[-1].replaced_by) is not None:
        found.append(room.messages.get(pk=after))
    return found


def messages_around(room: Room, message: Message) -> tuple[list[MessageBody], bool]:
    """Return a message with the messages before and after it, oldest first.

    A version of an answer that was replaced is returned in the place of the last version. Also
    return True if there are no earlier messages. On each side, at most BESIDE messages of MAX_BYTES
    are returned.
    """
    messages, place = room.messages.current(), versions_of(room, message)[-1].seq
    before = list(messages.filter(seq__lt=place).order_by("-seq")[: BESIDE + 1])
    after = messages.filter(seq__gt=place).order_by("seq")[:BESIDE]
    earlier = within_bytes([message, *before[:BESIDE]])
    later = within_bytes([message, *after])[1:]
    return bodies([*earlier[::-1], *later]), len(earlier) == len(before) + 1


def within_bytes(messages: Sequence[Message]) -> list[Message]:
    """Return the first of `messages` that have MAX_BYTES together, at least one."""
    sizes = accumulate(len(m.text.encode()) + len(m.html.encode()) for m in messages)
    return [
        m for m, size in zip(messages, sizes, strict=True) if m is messages[0] or size <= MAX_BYTES
    ]


def with_votes_of(user: User, messages: Sequence[MessageBody]) -> list[MessageBody]:
    """Return messages with the votes of `user`; one query if any of them has votes."""
    voted = [message.id for message in messages if message.votes is not None]
    own = Vote.objects.filter(user=user, message__in=voted) if voted else Vote.objects.none()
    mine = dict(own.values_list("message_id", "value"))
    return [
        structs.replace(message, votes=structs.replace(message.votes, mine=mine.get(message.id, 0)))
        if message.votes is not None
        else message
        for message in messages
    ]


def bodies(messages: Sequence[Message]) -> list[MessageBody]:
    """Return the wire form of messages; one query for all their runs."""
    answered = Run.objects.filter(answer__in=[message.pk for message in messages])
    runs = {run.answer_id: run for run in answered.only("answer_id", "why")}
    return [message_body(message, runs.get(message.pk)) for message in messages]
