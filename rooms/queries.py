"""Reads that assemble: a room afresh, a page of its messages, the turns that a persona sees."""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import User
from agents.engine_types import Turn
from rooms.models import AuthorKind, Message, MessageStatus, Room, Run, RunState
from rooms.permissions import permissions_in
from rooms.protocol.events import MessageBody, RoomState, RunBody
from rooms.protocol.serializers import (
    member_body,
    message_body,
    persona_body,
    room_body,
    run_body,
)
from rooms.runs import queue

PAGE: Final = 50
TURNS: Final = 40
TURN_CHARACTERS: Final = 60_000
OPEN: Final = (RunState.QUEUED, RunState.RUNNING)

Said = tuple[str, str, UUID | None, str]
"""Who said it, of what kind they are, which persona if it was one, and the text."""


def room_state(room: Room, user: User) -> RoomState:
    """Return the room as `user` may see it: the newest messages, who is here, what is running."""
    members = room.members.active().select_related("user")
    return RoomState(
        room=room_body(room),
        members=[member_body(m) for m in members.order_by("joined_at")],
        personas=[persona_body(b.persona) for b in room.bindings.select_related("persona")],
        permissions=permissions_in(user, room),
        messages=newest_messages(room),
        runs=_open_runs(room),
    )


def _open_runs(room: Room) -> list[RunBody]:
    runs = list(room.runs.filter(state__in=OPEN).order_by("queued_at", "pk"))
    waits = any(run.state == RunState.QUEUED for run in runs)
    places = queue.places(room) if waits else {}
    return [run_body(run, places.get(run.pk)) for run in runs]


def newest_messages(room: Room, before: int | None = None, limit: int = PAGE) -> list[MessageBody]:
    """Return up to `limit` messages, oldest first; those before seq `before`, where given."""
    messages = room.messages.order_by("-seq")
    if before is not None:
        messages = messages.filter(seq__lt=before)
    return bodies(list(messages[:limit])[::-1])


def bodies(messages: Sequence[Message]) -> list[MessageBody]:
    """Return the messages as they look on the wire; one query for all their runs."""
    answered = Run.objects.filter(answer__in=[message.pk for message in messages])
    runs = dict(answered.values_list("answer_id", "pk"))
    return [message_body(message, runs.get(message.pk)) for message in messages]


def open_answers(room_id: UUID) -> QuerySet[Run]:
    """Return the runs whose answers have begun and not ended."""
    return Run.objects.filter(room_id=room_id, state__in=OPEN, answer__isnull=False)


def handles_in(room: Room, text: str) -> set[str]:
    """Return the handles that the text may mention: those of the room's people and personas."""
    if "@" not in text:
        return set()
    people = room.members.active().values_list("user__handle", flat=True)
    personas = room.personas.order_by().values_list("handle", flat=True)
    return set(people.union(personas))


def turns(run: Run) -> list[Turn]:
    """Return what the persona of a run sees: the end of this room's history, up to its message.

    Unfinished answers are left out, and so is whatever was said after the message.
    """
    said = (
        Message.objects.filter(room_id=run.room_id, seq__lte=run.message.seq)
        .exclude(status=MessageStatus.STREAMING)
        .exclude(text="")
        .order_by("-seq")
        .values_list("author_name", "author_kind", "persona_id", "text")[:TURNS]
    )
    return [
        Turn(
            author=name,
            kind="user" if kind == AuthorKind.USER else "persona",
            own=persona_id == run.persona_id,
            text=text,
        )
        for name, kind, persona_id, text in _that_fit(said)
    ]


def _that_fit(newest_first: Iterable[Said]) -> list[Said]:
    """Return the newest messages that fit into a prompt, oldest first; the newest one always."""
    kept: list[Said] = []
    room_left = TURN_CHARACTERS
    for said in newest_first:
        room_left -= len(said[-1])
        if kept and room_left < 0:
            break
        kept.append(said)
    return kept[::-1]
