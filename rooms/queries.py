"""Reads that assemble several tables: the state of a room, a page of its messages."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import User
from rooms.models import Message, Room, Run, RunState
from rooms.permissions import permissions_in
from rooms.protocol.payloads import MessageBody, RoomState, RunBody
from rooms.protocol.serializers import (
    member_body,
    message_body,
    persona_body,
    room_body,
    run_body,
)
from rooms.runs import queue

PAGE: Final = 50
MAX_BYTES: Final = 2**20
"""The maximum size of the messages in a state or in a page of a list, if they are several."""


def room_state(room: Room, user: User, before: int | None = None) -> RoomState:
    """Return the room for `user`: the newest messages, members, personas and active runs.

    With `before`, the messages are those before that seq, and the active runs are left out.
    """
    members = room.members.active().select_related("user")
    messages, complete = newest_messages(room, before)
    return RoomState(
        room=room_body(room),
        members=[member_body(m) for m in members.order_by("joined_at")],
        personas=[persona_body(b.persona) for b in room.bindings.select_related("persona")],
        permissions=permissions_in(user, room),
        messages=messages,
        messages_complete=complete,
        runs=_active_runs(room) if before is None else [],
    )


def _active_runs(room: Room) -> list[RunBody]:
    runs = list(room.runs.active().order_by("queued_at", "pk"))
    is_queued = any(run.state == RunState.QUEUED for run in runs)
    positions = queue.positions(room) if is_queued else {}
    return [run_body(run, positions.get(run.pk)) for run in runs]


def newest_messages(room: Room, before: int | None = None) -> tuple[list[MessageBody], bool]:
    """Return the newest messages (before seq `before`, if given), oldest first.

    Also return True if there are no earlier ones. At most PAGE messages of MAX_BYTES are returned.
    """
    messages = room.messages.order_by("-seq")
    if before is not None:
        messages = messages.filter(seq__lt=before)
    found = list(messages[: PAGE + 1])
    shown = within_bytes(found[:PAGE])
    return bodies(shown[::-1]), len(shown) == len(found)


def within_bytes(messages: Sequence[Message]) -> list[Message]:
    """Return the first of `messages` that have MAX_BYTES together, at least one."""
    sizes = accumulate(len(m.text.encode()) + len(m.html.encode()) for m in messages)
    return [
        m for m, size in zip(messages, sizes, strict=True) if m is messages[0] or size <= MAX_BYTES
    ]


def bodies(messages: Sequence[Message]) -> list[MessageBody]:
    """Return the wire form of messages; one query for all their runs."""
    answered = Run.objects.filter(answer__in=[message.pk for message in messages])
    runs = dict(answered.values_list("answer_id", "pk"))
    return [message_body(message, runs.get(message.pk)) for message in messages]


def streaming_answers(room_id: UUID) -> QuerySet[Run]:
    """Return the active runs of a room that have an answer."""
    return Run.objects.active().filter(room_id=room_id, answer__isnull=False)
