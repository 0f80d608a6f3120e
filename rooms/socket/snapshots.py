"""How a socket gets into a room: the snapshot that fits what the client has already."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from accounts import rate_limits
from accounts.models import User
from rooms import event_log, queries
from rooms.fanout.presence import present_users
from rooms.fanout.publisher import LogEntry
from rooms.models import Room
from rooms.permissions import VIEW, access_room
from rooms.protocol.commands import RoomJoin
from rooms.protocol.events import RoomSnapshot
from rooms.protocol.payloads import LiveAnswer, RoomState
from rooms.runs.delta_store import delta_store

READS: Final = 5
READ_AT_ONCE: Final = 100
MOST_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An answer that has begun and not ended."""

    run: UUID
    message: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Stand:
    """Where the room stood when it was read. Later events may be in it already, never lacking."""

    seq: int
    events: list[LogEntry] | None
    state: RoomState | None
    unfinished: list[Unfinished]


def admit(user: User, room_id: UUID) -> Room:
    """Return the room if `user` may come in now; a stranger makes nobody listen to anything."""
    room = access_room(user, room_id, VIEW)
    rate_limits.consume(rate_limits.JOIN, user, room_id=room.pk, team_id=room.team_id)
    return room


def read_stand(user: User, room_id: UUID, after: int | None) -> Stand:
    """Return what a client at `after` lacks, or the room afresh; raises NotFound for strangers."""
    return _read_still(access_room(user, room_id, VIEW), user, after)


def admit_and_read(user: User, room_id: UUID, after: int | None) -> Stand:
    """Do both, with one question at the gate: for a room that is listened to already."""
    return _read_still(admit(user, room_id), user, after)


def _read_still(room: Room, user: User, after: int | None) -> Stand:
    """Read the room at one moment, if it gives us one.

    Every change moves the room's seq: where it stands still while we read, all that we have read
    is of that one moment. Where it does not, the rest comes to the socket as events, too.
    """
    for _ in range(READS):
        stand = _read(room, user, after)
        if Room.objects.filter(pk=room.pk, last_seq=stand.seq).exists():
            break
        room = access_room(user, room.pk, VIEW)
    return stand


def _read(room: Room, user: User, after: int | None) -> Stand:
    events = _events_for(room, after)
    return Stand(
        seq=room.last_seq,
        events=events,
        state=None if events is not None else queries.room_state(room, user),
        unfinished=[
            Unfinished(run=run.pk, message=run.answer_id, attempt=run.attempt)
            for run in queries.open_answers(room.pk)
            if run.answer_id is not None
        ],
    )


async def snapshot(command: RoomJoin, stand: Stand) -> RoomSnapshot:
    """Return the answer to `room.join`, with the deltas of unfinished answers that it lacks."""
    complete = stand.events is not None
    live = [await _live(answer, command) for answer in stand.unfinished]
    return RoomSnapshot(
        room=command.room,
        ref=command.ref,
        seq=stand.seq,
        since=command.after if complete and command.after is not None else stand.seq,
        complete=complete,
        events=event_log.raw_frames(stand.events) if stand.events is not None else None,
        state=stand.state,
        live=live,
        online=await present_users(command.room),
    )


def _events_for(room: Room, after: int | None) -> list[LogEntry] | None:
    """Return the events after `after`, or None where the client needs the room afresh.

    A client that is ahead of us has seen a database that was restored since. What is read is also
    bounded in bytes: five hundred of the longest messages would be kept for each slow socket.
    """
    if after is None or after > room.last_seq or room.last_seq - after > event_log.REPLAY_LIMIT:
        return None
    events: list[LogEntry] = []
    while after < room.last_seq:
        some = event_log.events_after(room.pk, after, limit=READ_AT_ONCE)
        events += [event for event in some if event.seq <= room.last_seq]
        if not some or sum(len(event.frame) for event in events) > MOST_BYTES:
            return None
        after = some[-1].seq
    return events


async def _live(answer: Unfinished, command: RoomJoin) -> LiveAnswer:
    """Return what a client lacks of an answer, or the whole where it holds what we never had.

    So it is read from the delta on that the client holds last, which must be here, too.
    """
    attempt, seq = (command.live or {}).get(answer.message, (0, -1))
    if attempt == answer.attempt:
        held = await delta_store().read(answer.message, attempt, seq)
        if held is None:  # nobody knows: it keeps what it has
            return _live_answer(answer, seq + 1, [])
        if held.deltas:
            return _live_answer(answer, seq + 1, held.deltas[1:])
    whole = await delta_store().read(answer.message, answer.attempt)
    return _live_answer(answer, 0, [] if whole is None else whole.deltas)


def _live_answer(answer: Unfinished, since: int, deltas: list[str]) -> LiveAnswer:
    return LiveAnswer(
        message=answer.message,
        run=answer.run,
        attempt=answer.attempt,
        since=since,
        seq=since + len(deltas) - 1,
        text="".join(deltas),
    )
