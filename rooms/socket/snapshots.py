"""Reads the snapshot for a client that joins: the events it has missed, or the state of the room.

`read_snapshot` and its variants run in a thread and read the database; `build_snapshot` runs on the
event loop and adds the deltas of answers that are streaming.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from msgspec import Raw, structs

from accounts import rate_limits
from accounts.models import User
from rooms import event_log, queries
from rooms.fanout.presence import present_users
from rooms.fanout.publisher import LogEntry
from rooms.models import Room
from rooms.permissions import VIEW, access_room
from rooms.protocol.commands import RoomJoin
from rooms.protocol.compact import StreamNumbers, compact_started
from rooms.protocol.events import RoomSnapshot
from rooms.protocol.payloads import LiveAnswer, RoomState
from rooms.runs.delta_store import delta_store

MAX_READS: Final = 5


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """An answer whose run has started and not ended."""

    run: UUID
    message: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class SnapshotData:
    """A room as read from the database, with all changes up to `seq` and perhaps later changes.

    Either `events` (the client catches up) or `state` (the client starts over) is set.
    """

    seq: int
    events: list[LogEntry] | None
    state: RoomState | None
    open_answers: list[OpenAnswer]


def authorize_join(user: User, room_id: UUID) -> Room:
    """Return the room; raises NotFound for users without access, RateLimited for too many joins."""
    room = access_room(user, room_id, VIEW)
    rate_limits.consume(rate_limits.JOIN, user, room_id=room.pk, team_id=room.team_id)
    return room


def read_snapshot(user: User, room_id: UUID, after: int | None) -> SnapshotData:
    """Return the events after `after`, or the state; raises NotFound for users without access."""
    return _read(access_room(user, room_id, VIEW), user, after)


def authorize_and_read(user: User, room_id: UUID, after: int | None) -> SnapshotData:
    """Authorize a join and read the room, with one permission check."""
    return _read(authorize_join(user, room_id), user, after)


def _read(room: Room, user: User, after: int | None) -> SnapshotData:
    """Read the room until its seq does not change during a read, at most MAX_READS times.

    Every change increments the seq: if it has not changed, the data is consistent. Otherwise the
    later changes also reach the connection as events, and the client drops duplicates.
    """
    for _ in range(MAX_READS):
        events = _events_after(room, after)
        data = SnapshotData(
            seq=room.last_seq,
            events=events,
            state=None if events is not None else queries.room_state(room, user),
            open_answers=[
                OpenAnswer(run=run.pk, message=run.answer_id, attempt=run.attempt)
                for run in queries.streaming_answers(room.pk)
                if run.answer_id is not None
            ],
        )
        if Room.objects.filter(pk=room.pk, last_seq=data.seq).exists():
            break
        room = access_room(user, room.pk, VIEW)
    return data


def _events_after(room: Room, after: int | None) -> list[LogEntry] | None:
    """Return the events after `after`, or None if the client needs the state.

    A client is ahead of the log if the database was restored from a backup. The client also needs
    the state if it has missed more bytes than one read of the log returns: they would be buffered
    for each slow client.
    """
    if after is None or after > room.last_seq or room.last_seq - after > event_log.REPLAY_LIMIT:
        return None
    events = event_log.events_after(room.pk, after, room.last_seq - after)
    complete = len(events) == room.last_seq - after
    return events if complete else None


async def build_snapshot(
    command: RoomJoin, data: SnapshotData, streams: StreamNumbers | None = None
) -> RoomSnapshot:
    """Return the answer to `room.join`, with the deltas of open answers that the client lacks.

    With `streams` it is for a client that gets compact deltas.
    """
    complete = data.events is not None
    live = [await _live_answer(answer, command) for answer in data.open_answers]
    if streams is not None:
        live = [
            structs.replace(answer, stream=streams.of(answer.message, answer.attempt))
            for answer in live
        ]
    return RoomSnapshot(
        room=command.room,
        ref=command.ref,
        seq=data.seq,
        since=command.after if complete and command.after is not None else data.seq,
        complete=complete,
        events=None if data.events is None else _frames(data.events, streams),
        state=data.state,
        live=live,
        online=await present_users(command.room),
    )


def _frames(events: list[LogEntry], streams: StreamNumbers | None) -> list[Raw]:
    """Return the events of the log, each `run.started` with the number of its attempt."""
    if streams is None:
        return event_log.raw_frames(events)
    return [
        Raw(compact_started(event.frame, streams.of_any))
        if event.type == "run.started"
        else Raw(event.frame)
        for event in events
    ]


async def _live_answer(answer: OpenAnswer, command: RoomJoin) -> LiveAnswer:
    """Return the deltas after the client's position, or all deltas if its position is unknown here.

    The read starts at the last delta that the client has: if the store lacks that delta, the
    client's position belongs to deltas that were never stored.
    """
    attempt, seq = (command.live or {}).get(answer.message, (0, -1))
    since, deltas = 0, None
    if attempt == answer.attempt:
        stored = await delta_store().read(answer.message, attempt, seq)
        if stored is None:  # the store is unavailable: the client keeps its deltas
            since, deltas = seq + 1, []
        elif stored.deltas:
            since, deltas = seq + 1, stored.deltas[1:]
    if deltas is None:
        stored = await delta_store().read(answer.message, answer.attempt)
        deltas = [] if stored is None else stored.deltas
    return LiveAnswer(
        message=answer.message,
        run=answer.run,
        attempt=answer.attempt,
        since=since,
        seq=since + len(deltas) - 1,
        text="".join(deltas),
    )
