"""The log of a room: every durable change, once, in the one order that everybody sees."""

from typing import Final
from uuid import UUID

import msgspec
from django.utils.translation import gettext_lazy as _
from msgspec import Raw, structs

from accounts.errors import Conflict
from rooms.fanout import publisher
from rooms.models import Room, RoomEvent
from rooms.protocol.events import DurableEvent, encode
from rooms.protocol.payloads import MessageBody

REPLAY_LIMIT: Final = 500
ACTIVITY_TYPES: Final = frozenset({"message.created", "message.completed"})


def record(room: Room, *events: DurableEvent) -> None:
    """Append events to the log of a room that the transaction has locked, and tell its sockets.

    Each event gets the next seq, so seqs have no gaps and follow the order of commits. Sockets are
    told after the commit, and not at all if there is none; whoever misses it reads it here.
    """
    rows, frames = [], []
    for seq, event in enumerate(events, start=room.last_seq + 1):
        placed = structs.replace(event, room=room.pk, seq=seq)
        frame = encode(placed)
        kind = str(type(event).__struct_config__.tag)
        row = RoomEvent(
            room=room, seq=seq, type=kind, payload=frame.decode(), message=_message_id(event)
        )
        rows.append(row)
        frames.append(publisher.LogEntry(seq=seq, type=kind, frame=frame))
    RoomEvent.objects.bulk_create(rows)
    room.last_seq += len(rows)
    room.save(update_fields=["last_seq"])
    publisher.publish_on_commit(publisher.Batch(room=room.pk, entries=frames))
    if any(frame.type in ACTIVITY_TYPES for frame in frames):
        publisher.publish_on_commit(publisher.ActivityHint(room.pk))


def check_seq(room: Room, seq: int) -> None:
    """Raise Conflict for a client that is ahead: it has seen a database that was restored since."""
    if seq > room.last_seq:
        raise Conflict(_("The log of this room ends before that. Read the room afresh."))


def redact(message_id: UUID) -> None:
    """Take what a message said out of the events that have told of it.

    Whoever reads the log from now on finds the message deleted from the first; the room is locked.
    """
    rows = list(RoomEvent.objects.filter(message=message_id))
    for row in rows:
        event = msgspec.json.decode(row.payload)
        event["message"] |= {"text": "", "html": "", "reactions": {}, "deleted": True}
        row.payload = msgspec.json.encode(event).decode()
    RoomEvent.objects.bulk_update(rows, ["payload"])


def _message_id(event: DurableEvent) -> UUID | None:
    """Return the message whose text an event carries."""
    message = getattr(event, "message", None)
    return message.id if isinstance(message, MessageBody) else None


def events_after(room_id: UUID, after: int, limit: int = REPLAY_LIMIT) -> list[publisher.LogEntry]:
    """Return the next `limit` events of the log after `after`, oldest first."""
    rows = (
        RoomEvent.objects.filter(room_id=room_id, seq__gt=after)
        .order_by("seq")
        .values_list("seq", "type", "payload")[:limit]
    )
    return [publisher.LogEntry(seq=seq, type=kind, frame=text.encode()) for seq, kind, text in rows]


def raw_frames(entries: list[publisher.LogEntry]) -> list[Raw]:
    """Return the finished frames of events, to be set into another frame as they are."""
    return [Raw(durable.frame) for durable in entries]
