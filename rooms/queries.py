"""Reads that assemble several tables: the state of a room, a page of messages, direct rooms."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import (
    Case,
    Count,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Left, Length
from django.utils.translation import gettext as _
from msgspec import structs

from accounts.errors import Invalid, NotFound
from accounts.models import Team, User
from accounts.services.people import matching_users
from agents.models import Persona
from rooms.fanout.unread import at_most
from rooms.models import (
    AuthorKind,
    Message,
    Room,
    RoomMember,
    RoomPersona,
    RoomRole,
    Run,
    RunState,
    ThreadFollower,
    Vote,
)
from rooms.protocol.payloads import MessageBody, PinnedBody, RoomState, RunBody, ThreadBody
from rooms.protocol.serializers import (
    PIN_TEXT,
    member_body,
    message_body,
    persona_body,
    pinned_body,
    room_body,
    run_body,
)
from rooms.runs import queue

_UNREAD: Final = (
    Message.objects.current()
    .filter(thread_root=OuterRef("root"), seq__gt=OuterRef("read_seq"), deleted_at=None)
    .order_by()
    .values("thread_root")
    .annotate(count=Count("pk"))
    .values("count")
)

PAGE: Final = 50
BESIDE: Final = 25
"""The maximum number of messages before, and of messages after, the message of a link."""
THREAD_PAGE: Final = 100
"""The maximum number of replies on the page of a thread."""
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
    is_live = before is None and around is None
    active, runs_complete = queue.first_active(room) if is_live else ([], True)
    authors = [m.author.id for m in messages if m.author.kind == AuthorKind.USER]
    asking = [run.requested_by_id for run in active]
    members, count = first_members(room, {*authors, *asking} - {None}, present)
    return RoomState(
        room=room_body(room, count),
        members=[member_body(member) for member in members],
        members_complete=len(members) == count,
        personas=[persona_body(b.persona) for b in room.bindings.select_related("persona")],
        permissions=permissions,
        messages=messages,
        messages_complete=complete,
        runs=_run_bodies(room, active),
        runs_complete=runs_complete,
        pins=_pins(room),
    )


def _pins(room: Room) -> list[PinnedBody]:
    """Return the pinned messages of a state, the last pinned first, without reading their text."""
    pinned: QuerySet[Any] = pinned_messages(room).order_by("-pinned_seq").defer("text", "html")
    return [pinned_body(m, m.start) for m in pinned.annotate(start=Left("text", PIN_TEXT))]


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


def _run_bodies(room: Room, runs: Sequence[Run]) -> list[RunBody]:
    positions = queue.positions(room) if any(r.state == RunState.QUEUED for r in runs) else {}
    return [run_body(run, positions.get(run.pk)) for run in runs]


def newest_messages(room: Room, before: int | None = None) -> tuple[list[MessageBody], bool]:
    """Return the newest messages of the room (before seq `before`, if given), oldest first.

    Also return True if there are no earlier ones. At most PAGE messages of MAX_BYTES are returned.
    """
    messages = room.messages.of_room().order_by("-seq")
    if before is not None:
        messages = messages.filter(seq__lt=before)
    found = list(messages[: PAGE + 1])
    shown = within_bytes(found[:PAGE])
    return bodies(shown[::-1]), len(shown) == len(found)


def is_among_newest(room: Room, message: Message) -> bool:
    """Return True if the first page of the room, or of a thread that alone shows it, has it."""
    root = None if message.in_room else message.thread_root
    shown, _complete = thread_page(root) if root else newest_messages(room)
    return message.pk in {each.id for each in shown}


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
    messages, place = room.messages.of_room(), versions_of(room, message)[-1].seq
    before = list(messages.filter(seq__lt=place).order_by("-seq")[: BESIDE + 1])
    after = messages.filter(seq__gt=place).order_by("seq")[:BESIDE]
    earlier = within_bytes([message, *before[:BESIDE]])
    later = within_bytes([message, *after])[1:]
    return bodies([*earlier[::-1], *later]), len(earlier) == len(before) + 1


def messages_of(room: Room, thread: str | None) -> QuerySet[Message]:
    """Return the messages that the room shows; of a thread, its root and replies; or `all`.

    Raises NotFound if `thread` is not the id of a message of the room.
    """
    if thread is None:
        return room.messages.of_room()
    if thread == "all":
        return room.messages.current()
    message = room.messages.filter(pk=thread).first()
    if message is None:
        raise NotFound
    root = message.thread_root_id or message.pk
    return room.messages.current().filter(Q(pk=root) | Q(thread_root=root))


def thread_messages(room_id: UUID, roots: Collection[UUID], before: int) -> list[MessageBody]:
    """Return the messages of threads in order of seq: a root and its THREAD_PAGE newest replies.

    Messages that the room shows from seq `before` on are left out, and so are roots that are not
    messages of the room. The replies have MAX_BYTES together; older ones are not read.
    """
    of_room = Message.objects.current().filter(room=room_id)
    found = list(of_room.filter(pk__in=roots))
    replies: list[tuple[int, UUID, int]] = []
    for root in found:
        of_thread = of_room.filter(Q(in_room=False) | Q(seq__lt=before), thread_root=root)
        newest = of_thread.annotate(size=Length("text") + Length("html")).order_by("-seq")
        replies += newest.values_list("seq", "pk", "size")[:THREAD_PAGE]
    replies.sort(reverse=True)
    sizes = accumulate(size for _seq, _pk, size in replies)
    fitting = [row[1] for row, size in zip(replies, sizes, strict=True) if size <= MAX_BYTES]
    newest_first = of_room.filter(pk__in=fitting).order_by("-seq")
    shown = [each for each in found if not each.in_room or each.seq < before]
    return bodies(sorted([*shown, *within_bytes(list(newest_first))], key=lambda each: each.seq))


def thread_page(root: Message, before: int | None = None) -> tuple[list[MessageBody], bool]:
    """Return a root and its newest replies (before seq `before`, if given), oldest first.

    Also return True if there are no earlier replies. At most THREAD_PAGE replies are returned.
    """
    replies = Message.objects.current().filter(thread_root=root).order_by("-seq")
    if before is not None:
        replies = replies.filter(seq__lt=before)
    found = list(replies[: THREAD_PAGE + 1])
    shown = within_bytes(found[:THREAD_PAGE])
    return bodies([root, *shown[::-1]]), len(shown) == len(found)


def unread_replies(user: User, roots: Collection[UUID]) -> dict[UUID, int]:
    """Return the unread replies of those of the threads that `user` follows."""
    rows = ThreadFollower.objects.filter(user=user, following=True, root__in=roots)
    found = rows.annotate(unread=Coalesce(Subquery(_UNREAD), 0)).values_list("root", "unread")
    return {root: at_most(unread) for root, unread in found}


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


def opinions_on(persona: Persona) -> QuerySet[Vote]:
    """Return the votes on the answers of a persona, without the texts of the answers."""
    shown = ("value", "note", "created_at", "message__persona_version")
    return Vote.objects.filter(persona=persona).select_related("message").only(*shown)


def bodies(messages: Sequence[Message]) -> list[MessageBody]:
    """Return the wire form of messages; one query for all their runs."""
    answered = Run.objects.filter(answer__in=[message.pk for message in messages])
    runs = {run.answer_id: run for run in answered.only("answer_id", "why")}
    return [message_body(message, runs.get(message.pk)) for message in messages]


def followed_threads(user: User, team: Team) -> QuerySet[Any]:  # Any: rows are annotated
    """Return the threads of a team that `user` follows and may read, for `page_of_threads`."""
    rooms = Room.objects.visible_to(user).filter(team=team)
    rows = ThreadFollower.objects.filter(user=user, following=True, room__in=rooms.values("pk"))
    return rows.exclude(root__deleted_at__isnull=False, root__reply_count=0).annotate(
        is_unread=Case(
            When(root__last_reply_seq__gt=F("read_seq"), then=1),
            default=0,
            output_field=IntegerField(),
        ),
        at=Coalesce("root__last_reply_at", "root__created_at"),
    )


def page_of_threads(
    rows: QuerySet[Any], *, limit: int, cursor: str | None = None
) -> tuple[list[ThreadBody], str | None]:
    """Return a page of `followed_threads`, and the cursor of the next page, None for the last.

    Unread threads come first, then those with the last reply. Raises Invalid for a cursor that is
    not of such a page.
    """
    if cursor is not None:
        unread, at, key = _parse_cursor(cursor)
        before = Q(at__lt=at) | Q(at=at, pk__lt=key)
        rows = rows.filter(Q(is_unread__lt=unread) | Q(before, is_unread=unread))
    ordered: QuerySet[Any] = rows.order_by("-is_unread", "-at", "-pk").select_related("root")
    found = list(ordered.annotate(unread=Coalesce(Subquery(_UNREAD), 0))[: limit + 1])
    shown = found[:limit]
    roots = bodies([row.root for row in shown])
    items = [
        ThreadBody(message=root, following=True, read_seq=row.read_seq, unread=at_most(row.unread))
        for row, root in zip(shown, roots, strict=True)
    ]
    last = shown[-1] if len(found) > limit else None
    return items, (last and f"{last.is_unread}_{last.at.timestamp()!r}_{last.pk}")


def _parse_cursor(cursor: str) -> tuple[int, datetime, int]:
    """Return the values of the last row of a page; raises Invalid."""
    try:
        unread, at, key = cursor.split("_")
        return int(unread), datetime.fromtimestamp(float(at), UTC), int(key)
    except (ValueError, OverflowError, OSError):
        sentence = _("This cursor is not valid for this list. Start again without a cursor.")
        raise Invalid(fields={"cursor": sentence}) from None


def thread_of(user: User, message: Message) -> ThreadBody:
    """Return the thread of a message; without a row of the user it is not followed, and read."""
    root = Message.objects.get(pk=message.thread_root_id or message.pk)
    rows: QuerySet[Any] = ThreadFollower.objects.filter(root=root, user=user)
    row = rows.annotate(unread=Coalesce(Subquery(_UNREAD), 0)).first()
    (body,) = bodies([root])
    return ThreadBody(
        message=body,
        following=row is not None and row.following,
        read_seq=row.read_seq if row else root.last_reply_seq or root.seq,
        unread=at_most(row.unread) if row and row.following else 0,
    )
