"""Reads the snapshot for a client that joins: the events it has missed, or the state of the room.

`read_snapshot` checks the permission and returns a read that clients share, with what differs
between clients: permissions and open threads. `build_snapshot` adds the deltas of unfinished
answers.

A shared read is right for each client, because it belongs to one seq of the room, and each field of
the state changes with the seq: a change of a profile or of a persona is an event in each of its
rooms. Exceptions are `runs[].position`, which is at most QUEUE_SECONDS old, and the choice of the
members in a large room, which depends on presence.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from math import inf
from typing import Final, cast
from uuid import UUID

from msgspec import Raw, Struct, json, structs

from accounts import rate_limits
from accounts.errors import NotFound
from accounts.models import User
from rooms import event_log, queries
from rooms.executors import COMMANDS, in_thread
from rooms.fanout.presence import present_users
from rooms.fanout.publisher import LogEntry
from rooms.models import Room, Run, RunState
from rooms.permissions import VIEW, access_room
from rooms.protocol.commands import RoomJoin
from rooms.protocol.compact import StreamNumbers, compact_started
from rooms.protocol.events import RoomSnapshot, encode
from rooms.protocol.payloads import LiveAnswer, MessageBody, RoomState, RunBody
from rooms.socket.joins import authorize
from rooms.socket.shared_deltas import shared_deltas
from rooms.socket.shared_reads import OpenAnswer, RoomRead, SharedReads

MAX_READS: Final = 5
QUEUE_SECONDS: Final = 1.0
"""A position in the queue changes without an event; a state with queued runs is kept this long."""
_NO_PERMISSIONS: Final = b'],"permissions":[]}'


class SnapshotData(Struct, frozen=True):
    """A room as a client gets it, with all changes up to `seq` and perhaps later changes.

    Either `events` (the client catches up) or `state` (the client starts over) is set.
    """

    seq: int
    events: tuple[LogEntry, ...] | None
    state: Raw | None
    open_answers: tuple[OpenAnswer, ...]


def authorize_join(user: User, room_id: UUID) -> Room:
    """Return the room; raises NotFound for users without access, RateLimited for too many joins."""
    room = access_room(user, room_id, VIEW)
    rate_limits.consume(rate_limits.JOIN, user, room_id=room.pk, team_id=room.team_id)
    return room


async def read_snapshot(
    user: User,
    room_id: UUID,
    after: int | None,
    *,
    threads: Collection[UUID] = (),
    is_counted: bool = True,
) -> SnapshotData:
    """Return the events after `after`, or the state, of a room that the client has subscribed to.

    A state includes `threads`, which are read for this client alone, after the shared read. A join
    that `is_counted` does not count against the rate limits again. Raises NotFound for users
    without access.
    """
    view = await authorize(user, room_id, is_counted=is_counted)
    read, events = await _read(room_id, view.seq, after)
    messages: list[MessageBody] = []
    if threads and events is None:
        find = queries.thread_messages
        messages = await in_thread(COMMANDS, find, room_id, threads, read.oldest)
    # The user may have been removed by one of the changes since.
    if messages or read.until > view.seq:
        view = await authorize(user, room_id, is_counted=True)
    state = complete_state(read.state, view.permissions, messages) if events is None else None
    return SnapshotData(read.seq, events, state, read.open_answers)


async def _read(
    room_id: UUID, seq: int, after: int | None
) -> tuple[RoomRead, tuple[LogEntry, ...] | None]:
    """Return a shared read, with the events after `after`, or None if the client needs the state.

    A client is ahead of the log if the database was restored from a backup. The client also needs
    the state if it has missed more bytes than one read of the log returns: they would be buffered
    for each slow client.
    """
    if after is not None and 0 <= seq - after <= event_log.REPLAY_LIMIT:
        read = await _logs.get(room_id, seq, after)
        if (events := read.events_after(after)) is not None:
            return read, events
    return await _states.get(room_id, seq), None


def read_state(room_id: UUID, present: Collection[UUID] = ()) -> RoomRead:
    """Read the state of a room; `present` are users who are online. Raises NotFound.

    If the seq changes during the read, the room is read again, at most MAX_READS times in all.
    """
    for _ in range(MAX_READS):
        room = _room(room_id)
        state = queries.room_state(room, [], present=present)
        until = _last_seq(room_id)
        if until == room.last_seq:
            break
    is_queued = any(run.state == RunState.QUEUED for run in state.runs)
    return RoomRead(
        seq=room.last_seq,
        until=until,
        open_answers=_open_answers(state.runs),
        state=encode(state),
        oldest=state.messages[0].seq if state.messages else 0,
        reusable_until=time.monotonic() + QUEUE_SECONDS if is_queued else inf,
    )


def read_log(room_id: UUID, after: int) -> RoomRead:
    """Read the events after `after`, or the last ones of too many. Raises NotFound.

    Like `read_state`, again if the seq changes: the open answers must be those of the events. A
    client would lose deltas of an answer that has begun or ended since.
    """
    until = _last_seq(room_id)
    for _ in range(MAX_READS):
        seq = until
        events = event_log.last_events(room_id, after, seq)
        answering = Run.objects.active().filter(room_id=room_id, answer__seq__lte=seq)
        rows = list(answering.values_list("pk", "answer_id", "attempt", "state"))
        until = _last_seq(room_id)
        if until == seq:
            break
    return RoomRead(
        seq=seq,
        open_answers=tuple(
            OpenAnswer(run, answer, attempt, waiting=state == RunState.WAITING)
            for run, answer, attempt, state in rows
        ),
        until=until,
        events=tuple(events),
        wanted=after,
    )


def complete_state(
    state: bytes, permissions: list[str], messages: Sequence[MessageBody] = ()
) -> Raw:
    """Return an encoded state with the permissions of a user and with further `messages`.

    The last two fields of a state are `messages` and `permissions`.
    """
    if not state.endswith(_NO_PERMISSIONS):
        raise ValueError("the state has permissions")
    shared = state[: -len(_NO_PERMISSIONS)]
    further = json.encode(messages)[1:-1]
    comma = b"," if further and not shared.endswith(b"[") else b""
    return Raw(shared + comma + further + b'],"permissions":' + json.encode(permissions) + b"}")


def _room(room_id: UUID) -> Room:
    room = Room.objects.filter(pk=room_id).first()
    if room is None:
        raise NotFound
    return room


def _last_seq(room_id: UUID) -> int:
    seq = Room.objects.filter(pk=room_id).values_list("last_seq", flat=True).first()
    if seq is None:
        raise NotFound
    return seq


def _open_answers(runs: Sequence[RunBody]) -> tuple[OpenAnswer, ...]:
    return tuple(
        OpenAnswer(run.id, run.answer, run.attempt, waiting=run.state == RunState.WAITING)
        for run in runs
        if run.answer is not None
    )


async def _fetch_state(room_id: UUID, _after: int) -> RoomRead:
    present = await present_users(room_id)
    return await in_thread(COMMANDS, read_state, room_id, present)


async def _fetch_log(room_id: UUID, after: int) -> RoomRead:
    return await in_thread(COMMANDS, read_log, room_id, after)


_states = SharedReads(_fetch_state)
_logs = SharedReads(_fetch_log)


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
        state=cast("RoomState | None", data.state),  # Raw is copied by the encoder
        live=live,
        online=await present_users(command.room),
    )


def delta_positions(data: SnapshotData, live: Iterable[LiveAnswer]) -> dict[UUID, tuple[int, int]]:
    """Return the positions of a snapshot in the unfinished answers whose deltas may still follow.

    No delta of a waiting answer follows. With its position, a subscription would lag for as long as
    people take: see `Positions.have_passed`.
    """
    waiting = {answer.message for answer in data.open_answers if answer.waiting}
    return {each.message: (each.attempt, each.seq) for each in live if each.message not in waiting}


def _frames(events: Sequence[LogEntry], streams: StreamNumbers | None) -> list[Raw]:
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
    client's position belongs to deltas that were never stored. A waiting answer has no deltas.
    """
    attempt, seq = (command.live or {}).get(answer.message, (0, -1))
    since = 0
    deltas: list[str] | None = [] if answer.waiting else None
    if deltas is None and attempt == answer.attempt:
        stored = await shared_deltas.read(answer.message, attempt, seq)
        if stored is None:  # the store is unavailable: the client keeps its deltas
            since, deltas = seq + 1, []
        elif stored.deltas:
            since, deltas = seq + 1, stored.deltas[1:]
    if deltas is None:
        stored = await shared_deltas.read(answer.message, answer.attempt)
        deltas = [] if stored is None else stored.deltas
    return LiveAnswer(
        message=answer.message,
        run=answer.run,
        attempt=answer.attempt,
        since=since,
        seq=since + len(deltas) - 1,
        text="".join(deltas),
    )
