"""The log of a room: its durable events, stored once and in the same order for all clients."""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

import msgspec
from django.db.models import BigIntegerField, DateTimeField, UUIDField
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from msgspec import Raw, structs

from accounts.database.prepared_queries import PreparedUpdate, insert
from accounts.errors import Conflict
from rooms.fanout import publisher
from rooms.models import Room, RoomEvent
from rooms.protocol.events import (
    DurableEvent,
    MessageCompleted,
    MessageCreated,
    MessageDeleted,
    QuestionAnswered,
    QuestionAsked,
    encode,
)
from rooms.protocol.payloads import MessageBody

REPLAY_LIMIT: Final = 500
EVENTS_PER_QUERY: Final = 50
MAX_BYTES: Final = 2**20


def record(room: Room, *events: DurableEvent) -> None:
    """Append events to the log of a room, and publish them after the commit.

    The caller's transaction must hold the lock on the room's row: each event gets the next seq, so
    seqs have no gaps and follow the order of commits. A published event may be lost; the hubs then
    read it from the log. The messages of the events are counted in the room.
    """
    rows, entries = [], []
    for seq, event in enumerate(events, start=room.last_seq + 1):
        placed = structs.replace(event, room=room.pk, seq=seq)
        frame = encode(placed)
        kind = str(type(event).__struct_config__.tag)
        row = RoomEvent(
            room=room, seq=seq, type=kind, payload=frame.decode(), message=_message_id(event)
        )
        rows.append(row)
        entries.append(publisher.LogEntry(seq=seq, type=kind, frame=frame))
    insert(*rows)
    room.last_seq += len(rows)
    _count_messages(room, events)
    _SET_LOG(
        room=room.pk,
        last_seq=room.last_seq,
        message_count=room.message_count,
        last_message_at=room.last_message_at,
        deleted_seq=room.deleted_seq,
    )
    publisher.publish_on_commit(publisher.Batch(room=room.pk, entries=entries))
    if any(map(_changes_counts, events)):
        publisher.publish_on_commit(publisher.ActivityHint(room.pk))


def _count_messages(room: Room, events: tuple[DurableEvent, ...]) -> None:
    """Count created and deleted messages of the room; an answer counts once.

    Replies that only a thread shows are not counted.
    """
    for event in events:
        if isinstance(event, MessageCreated) and event.message.replaces is None:
            room.last_message_at = timezone.now()
            room.message_count += _is_in_room(event.message)
        elif isinstance(event, MessageDeleted) and _is_counted(event.message):
            room.deleted_seq = max(room.deleted_seq, event.message.seq)


def _is_in_room(message: MessageBody) -> bool:
    return message.thread is None or message.also_in_room


def _is_counted(message: MessageBody) -> bool:
    return message.replaced_by is None and _is_in_room(message)


def _changes_counts(event: DurableEvent) -> bool:
    """Return True if the event may change unread counts of the room's members."""
    return isinstance(event, MessageCreated | MessageCompleted)


_SET_LOG: Final = PreparedUpdate(
    lambda room, **changes: (Room.objects.filter(pk=room), changes),
    room=UUIDField(),
    last_seq=BigIntegerField(),
    message_count=BigIntegerField(),
    last_message_at=DateTimeField(null=True),
    deleted_seq=BigIntegerField(),
)


def check_seq(room: Room, seq: int) -> None:
    """Raise Conflict if the log ends before `seq`: the database was restored from a backup."""
    if seq > room.last_seq:
        raise Conflict(_("The room has no event with this number. Reload the room."))


def redact(message_id: UUID) -> None:
    """Remove the content of a message from the log's events, and mark it as deleted there.

    The caller's transaction must hold the lock on the room's row.
    """
    rows = list(RoomEvent.objects.filter(message=message_id))
    for row in rows:
        event = msgspec.json.decode(row.payload)
        if question := event.get("question"):
            question |= {"text": "", "choices": [], "answers": []}
            row.payload = msgspec.json.encode(event).decode()
            continue
        event["message"] |= {"text": "", "html": "", "reactions": {}, "deleted": True}
        for name in ("steps", "steered"):  # results that were shown, and words of members
            event["message"].pop(name, None)
        row.payload = msgspec.json.encode(event).decode()
    RoomEvent.objects.bulk_update(rows, ["payload"])


def hide_results(answer: UUID, calls: Collection[str]) -> None:
    """Remove the shown results of calls from the log's events of an answer.

    The caller's transaction must hold the lock on the room's row.
    """
    rows = list(RoomEvent.objects.filter(message=answer, payload__contains='"shown"'))
    for row in rows:
        event = msgspec.json.decode(row.payload)
        for step in event.get("message", {}).get("steps", ()):
            if step["call"] in calls and "shown" in step:
                step["shown"] = ""
        row.payload = msgspec.json.encode(event).decode()
    RoomEvent.objects.bulk_update(rows, ["payload"])


def _message_id(event: DurableEvent) -> UUID | None:
    """Return the message whose text, or whose question, the event contains; None without one."""
    if isinstance(event, QuestionAsked | QuestionAnswered):
        return event.question.message
    message = getattr(event, "message", None)
    return message.id if isinstance(message, MessageBody) else None


def events_after(room_id: UUID, after: int, limit: int = REPLAY_LIMIT) -> list[publisher.LogEntry]:
    """Return up to `limit` events of the log after seq `after`, oldest first.

    The events have at most MAX_BYTES together, unless the first one alone has more.
    """
    log = RoomEvent.objects.filter(room_id=room_id).order_by("seq")
    found: list[publisher.LogEntry] = []
    size, last = 0, after
    while len(found) < limit:
        count = min(EVENTS_PER_QUERY, limit - len(found))
        rows = log.filter(seq__gt=last).values_list("seq", "type", "payload")[:count]
        for last, kind, text in rows:
            entry = publisher.LogEntry(seq=last, type=kind, frame=text.encode())
            size += len(entry.frame)
            if found and size > MAX_BYTES:
                return found
            found.append(entry)
        if len(rows) < count:
            break
    return found


def last_events(room_id: UUID, after: int, until: int) -> list[publisher.LogEntry]:
    """Return the events of the log after seq `after` up to `until`, oldest first.

    Of more than REPLAY_LIMIT events, or of more than MAX_BYTES, only the last ones are returned.
    """
    log = RoomEvent.objects.filter(room_id=room_id, seq__gt=after).order_by("-seq")
    found: list[publisher.LogEntry] = []
    size, first = 0, until + 1
    while after + 1 < first and len(found) < REPLAY_LIMIT:
        count = min(EVENTS_PER_QUERY, REPLAY_LIMIT - len(found))
        rows = log.filter(seq__lt=first).values_list("seq", "type", "payload")[:count]
        for first, kind, text in rows:
            entry = publisher.LogEntry(seq=first, type=kind, frame=text.encode())
            size += len(entry.frame)
            if size > MAX_BYTES:
                return found[::-1]
            found.append(entry)
        if len(rows) < count:
            break
    return found[::-1]


def raw_frames(entries: Sequence[publisher.LogEntry]) -> list[Raw]:
    """Return the frames of events, to be embedded in another frame without encoding them again."""
    return [Raw(durable.frame) for durable in entries]
