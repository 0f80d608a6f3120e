"""The log of a room: every durable change, once, in the one order that everybody sees."""

from typing import Final
from uuid import UUID

from msgspec import Raw, structs

from rooms import broadcast
from rooms.events import DurableEvent, encode
from rooms.models import Room, RoomEvent

REPLAY_LIMIT: Final = 500
SPOKEN: Final = frozenset({"message.created", "message.completed"})


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
        rows.append(RoomEvent(room=room, seq=seq, type=kind, payload=frame.decode()))
        frames.append(broadcast.Durable(seq=seq, type=kind, frame=frame))
    RoomEvent.objects.bulk_create(rows)
    room.last_seq += len(rows)
    room.save(update_fields=["last_seq"])
    broadcast.publish_on_commit(broadcast.Change(room=room.pk, durables=frames))
    if any(frame.type in SPOKEN for frame in frames):
        broadcast.publish_on_commit(broadcast.Spoken(room.pk))


def events_after(room_id: UUID, after: int, limit: int = REPLAY_LIMIT) -> list[broadcast.Durable]:
    """Return the next `limit` events of the log after `after`, oldest first."""
    rows = (
        RoomEvent.objects.filter(room_id=room_id, seq__gt=after)
        .order_by("seq")
        .values_list("seq", "type", "payload")[:limit]
    )
    return [broadcast.Durable(seq=seq, type=kind, frame=text.encode()) for seq, kind, text in rows]


def raw(durables: list[broadcast.Durable]) -> list[Raw]:
    """Return the finished frames of events, to be set into another frame as they are."""
    return [Raw(durable.frame) for durable in durables]
