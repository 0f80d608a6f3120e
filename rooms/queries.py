"""Reads that assemble several tables: the state of a room, a page of messages, direct rooms."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import reduce
from itertools import accumulate
from operator import or_
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from django.db.models import (
    Case,
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

from accounts.errors import NotFound
from accounts.models import User
from accounts.services.people import matching_users
from agents.models import Persona
from rooms import replies
from rooms.models import (
    AuthorKind,
    CallState,
    Message,
    Question,
    QuestionState,
    Room,
    RoomMember,
    RoomPersona,
    RoomRole,
    Run,
    RunState,
    ToolCall,
    Vote,
)
from rooms.protocol.payloads import MessageBody, PinnedBody, RoomState, RunBody
from rooms.protocol.serializers import (
    PIN_TEXT,
    approval_body,
    member_body,
    message_body,
    persona_body,
    pinned_body,
    question_body,
    room_body,
    run_body,
)
from rooms.runs import queue

PAGE: Final = 50
BESIDE: Final = 25
"""The maximum number of messages before, and of messages after, the message of a link."""
THREAD_PAGE: Final = 100
"""The maximum number of replies on the page of a thread."""
MEMBERS: Final = 100
"""The maximum number of members in a state."""
MAX_OPEN: Final = 100
"""The maximum number of approvals, and of questions, in a state."""
MAX_BYTES: Final = 2**20
"""The maximum size of the messages in a state or in a page of a list, if they are several."""

Row = TypeVar("Row")


def room_state(
    room: Room,
    permissions: list[str],
    before: int | None = None,
    *,
    present: Collection[UUID] = (),
    around: Message | None = None,
    newest: int | None = None,
) -> RoomState:
    """Return the room: its messages, first members, personas, active runs and pins.

    The messages are the `newest`, by default PAGE. With `before`, they are those before that seq,
    and the active runs are left out; with `around`, those before and after a message. `present` are
    users who are online.
    """
    if around is not None:
        messages, complete = messages_around(room, around)
    else:
        messages, complete = newest_messages(room, before, newest)
    active, runs_complete = queue.first_active(room) if before is None else ([], True)
    started = [run.pk for run in active if run.attempt]
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
        approvals=[approval_body(call, call.run) for call in _open_calls(started)],
        questions=[question_body(each, each.call.run) for each in _open_questions(room, started)],
    )


def _open_calls(started: Collection[UUID]) -> QuerySet[ToolCall]:
    """Return the oldest calls of these runs on which people decide, at most MAX_OPEN.

    No query if there are no runs.
    """
    calls = ToolCall.objects.filter(state=CallState.ASKED, run__in=started).select_related("run")
    return calls.order_by("created_at", "run", "request", "position")[:MAX_OPEN]


def _open_questions(room: Room, started: Collection[UUID]) -> QuerySet[Question]:
    """Return the oldest open questions of these runs of a room, at most MAX_OPEN.

    No query if there are no runs, and one for the answers to all questions.
    """
    asked = Question.objects.filter(state=QuestionState.OPEN, room=room, call__run__in=started)
    oldest = asked.order_by("created_at", "call__run", "call__request", "call__position")
    return oldest.select_related("call__run").prefetch_related("answers")[:MAX_OPEN]


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


def newest_messages(
    room: Room, before: int | None = None, limit: int | None = None
) -> tuple[list[MessageBody], bool]:
    """Return the newest messages of the room (before seq `before`, if given), oldest first.

    Also return True if there are no earlier ones. At most `limit` messages of MAX_BYTES are
    returned, by default PAGE.
    """
    limit = PAGE if limit is None else limit
    messages = room.messages.of_room().order_by("-seq")
    if before is not None:
        messages = messages.filter(seq__lt=before)
    found = list(messages[: limit + 1])
    shown = within_bytes(found[:limit])
    return bodies(shown[::-1]), len(shown) == len(found)


def is_among_newest(room: Room, message: Message, limit: int) -> bool:
    """Return True if the `limit` newest messages of the room have a message.

    For a message that only a thread shows: if the first page of the thread has it.
    """
    root = None if message.in_room else message.thread_root
    shown, _complete = thread_page(root) if root else newest_messages(room, limit=limit)
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
    root = replies.root_of(message)
    return room.messages.current().filter(Q(pk=root.pk) | Q(thread_root=root))


def thread_messages(room_id: UUID, roots: Collection[UUID], before: int) -> list[MessageBody]:
    """Return the messages of threads in order of seq: a root and its THREAD_PAGE newest replies.

    Messages that the room shows from seq `before` on are left out, and so are roots that are not
    messages of the room. The replies have MAX_BYTES together; older ones are not read. The number
    of queries does not depend on the number of threads.
    """
    of_room = Message.objects.current().filter(room=room_id)
    found = {each.pk: each for each in _roots(room_id, roots, before)}.values()
    pages = (Q(thread_root=each, seq__gte=each.first) for each in found)
    of_threads = Message.objects.current().filter(reduce(or_, pages, Q(pk=None)))
    newest = of_threads.filter(Q(in_room=False) | Q(seq__lt=before)).order_by("-seq")
    sized = newest.annotate(size=Length("text") + Length("html"))
    rows = list(sized.values_list("pk", "size"))
    sizes = accumulate(size for _pk, size in rows)
    fitting = [pk for (pk, _size), size in zip(rows, sizes, strict=True) if size <= MAX_BYTES]
    newest_first = of_room.filter(pk__in=fitting).order_by("-seq")
    shown = [each for each in found if not each.in_room or each.seq < before]
    return bodies(sorted([*shown, *within_bytes(list(newest_first))], key=lambda each: each.seq))


def _roots(room_id: UUID, roots: Collection[UUID], before: int) -> list[Any]:
    """Return the roots with `first`, the seq of the oldest reply that `thread_messages` returns.

    The last version stands for an earlier one; each later version takes another query.
    """
    of_thread = Message.objects.current().filter(thread_root=OuterRef("pk"))
    newest = of_thread.filter(Q(in_room=False) | Q(seq__lt=before)).order_by("-seq")
    last_of_page = newest.values("seq")[THREAD_PAGE - 1 : THREAD_PAGE]
    rows: QuerySet[Any] = Message.objects.filter(room=room_id, pk__in=roots)
    found = list(rows.annotate(first=Coalesce(Subquery(last_of_page), 0)))
    later = {each.replaced_by for each in found} - {None, *roots}
    current = [each for each in found if each.replaced_by is None]
    return current + (_roots(room_id, later, before) if later else [])


def thread_page(root: Message, before: int | None = None) -> tuple[list[MessageBody], bool]:
    """Return a root and its newest replies (before seq `before`, if given), oldest first.

    Also return True if there are no earlier replies. At most THREAD_PAGE replies are returned.
    """
    of_thread = Message.objects.current().filter(thread_root=root).order_by("-seq")
    if before is not None:
        of_thread = of_thread.filter(seq__lt=before)
    found = list(of_thread[: THREAD_PAGE + 1])
    shown = within_bytes(found[:THREAD_PAGE])
    return bodies([root, *shown[::-1]]), len(shown) == len(found)


def within_bytes(messages: Sequence[Message]) -> list[Message]:
    """Return the first of `messages` that have MAX_BYTES together, at least one."""
    return _fitting(messages, [len(m.text.encode()) + len(m.html.encode()) for m in messages])


def calls_within_bytes(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Return the first of `calls` whose arguments have MAX_BYTES together, at least one."""
    return _fitting(calls, [len(call.arguments.encode()) for call in calls])


def _fitting(rows: Sequence[Row], sizes: Sequence[int]) -> list[Row]:
    whole = zip(rows, accumulate(sizes), strict=True)
    return [row for row, size in whole if row is rows[0] or size <= MAX_BYTES]


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
    answers = [m.pk for m in messages if m.author_kind == AuthorKind.PERSONA]
    answered = Run.objects.filter(answer__in=answers)
    runs = {run.answer_id: run for run in answered.only("answer_id", "why")}
    return [message_body(message, runs.get(message.pk)) for message in messages]
