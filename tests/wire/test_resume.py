"""Resuming after any cut: every delta of an answer is applied exactly once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect

from tests.live import CLIENT_OPTIONS, MARU_V1, Frame, Person, PopulatedRoom
from tests.wire.proxies import CuttingProxy, ReconnectingClient, RecordingProxy, timeline_at
from tests.wire.server import Server, WireClient, run_of, streamed
from tests.wire.timeline import PartialAnswer, Timeline

CONNECTIONS = 220
TABS = 3


async def cut_and_follow(
    server: Server, room: PopulatedRoom, proxy: CuttingProxy, connections: int
) -> list[ReconnectingClient]:
    """Ask repeatedly; one client receives each answer uncut, the others through the proxy."""
    async with server.client(room.members[0]) as steady:
        known = Timeline()
        known.apply(await steady.join(room.id))
        clients = [
            ReconnectingClient(
                room,
                person,
                [proxy],
                server.deliveries,
                timeline=timeline_at(steady.frames[-1]),
            )
            for person in room.members[1 : 1 + TABS]
        ]
        while sum(client.connections for client in clients) < connections:
            run = await steady.ask(room.id, "tokens-60@200")
            await asyncio.gather(*(client.follow(run) for client in clients))
            await steady.ended(run)
            delivered = [f for f in steady.of_run(run) if f["type"] == "message.delta"]
            for client in clients:
                check_against(client, run, delivered)
                client.frames.clear()
        return clients


def check_against(client: ReconnectingClient, run: str, delivered: list[Frame]) -> None:
    """Compare the frames that a client received of a run with the uncut stream."""
    text = {delta["seq"]: delta["text"] for delta in delivered}
    assert list(text) == list(range(len(delivered)))
    whole = "".join(text.values())
    for frame in client.frames:
        if frame["type"] == "message.delta" and run_of(frame) == run:
            assert frame["text"] == text[frame["seq"]]
        if frame["type"] == "room.snapshot":
            for live in frame["live"]:
                if live["run"] == run:
                    part = "".join(text[n] for n in range(live["from"], live["seq"] + 1))
                    assert live["text"] == part
    ended = client.timeline.ended[run]
    assert ended.stored == " ".join(f"t{n}" for n in range(60))
    assert whole.rstrip() == ended.stored
    assert whole.startswith(ended.assembled)
    if ended.received_to_the_end:
        assert ended.assembled == whole


async def test_answer_is_whole_after_cuts_at_any_byte(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    generator = random.Random(20261122)
    async with CuttingProxy(server.installation.port, generator).open() as proxy:
        followed = await asyncio.gather(
            *(cut_and_follow(server, room, proxy, CONNECTIONS // len(rooms)) for room in rooms)
        )

    clients = [client for of_room in followed for client in of_room]
    ended = [one for client in clients for one in client.timeline.ended.values()]
    assert sum(client.connections for client in clients) >= CONNECTIONS
    assert sum(one.received_to_the_end for one in ended) >= len(ended) // 4
    assert all(client.timeline.runs == {} for client in clients)


async def test_second_join_fills_a_gap(
    server: Server, room: PopulatedRoom, owner: Person, member: Person
) -> None:
    """The client drops every fifth frame."""
    generator = random.Random(3)
    async with server.client(owner) as steady, server.client(member) as client:
        timeline = timeline_at(await client.join(room.id))
        await steady.join(room.id)
        run = await steady.ask(room.id, "tokens-60@200")
        while run not in timeline.ended:
            frame = await next_frame(client)
            if frame is None or timeline.gap:
                timeline.apply(await client.command("room.join", room=room.id, **timeline.join()))
            elif generator.random() > 0.2:
                timeline.apply(frame)
        await steady.ended(run)

    delivered = "".join(f["text"] for f in steady.of_run(run) if f["type"] == "message.delta")
    assert delivered.rstrip() == timeline.ended[run].stored
    assert delivered.startswith(timeline.ended[run].assembled)


async def test_client_resumes_after_a_cut_at_any_byte(
    server: Server, room: PopulatedRoom, owner: Person, member: Person
) -> None:
    """During the answer and after its end, with every prefix of the received frames."""
    recording = RecordingProxy(server.installation.port)
    async with recording.open(), server.client(owner) as probe:
        personas = timeline_at(await probe.join(room.id)).personas
        (held,) = (p for p, persona in personas.items() if persona["handle"] == "held-12@15")
        async with recorded(recording, member, server) as client:
            timeline = timeline_at(await client.join(room.id))
            question = await probe.send(room.id, "Count.", personas=[held])
            while not any(one.text.endswith("t11 ") for one in timeline.partial.values()):
                timeline.apply(await client.receive())
            position, answer = timeline.seq, one_of(timeline.partial)
            for start in recording.prefixes():
                cut = await resumed(probe, room, start)
                assert (cut.seq, cut.partial[answer].text) == (
                    position,
                    timeline.partial[answer].text,
                )
                assert cut.messages == timeline.messages

            server.provider.release()
            (run,) = question["runs"]
            while run not in timeline.ended or run in timeline.runs:
                timeline.apply(await client.receive())
        for start in recording.prefixes():
            cut = await resumed(probe, room, start)
            assert (cut.seq, cut.partial, cut.messages) == (timeline.seq, {}, timeline.messages)

    assert timeline.ended[run].assembled == "".join(f"t{n} " for n in range(24))
    assert len(recording.prefixes()) > 24


def one_of(answers: dict[str, PartialAnswer]) -> str:
    (one,) = answers
    return one


@asynccontextmanager
async def recorded(
    recording: RecordingProxy, person: Person, server: Server
) -> AsyncIterator[WireClient]:
    """Connect through the recording proxy."""
    async with connect(
        f"ws://127.0.0.1:{recording.port}/ws/",
        additional_headers={"Authorization": f"Bearer {person.token}"},
        subprotocols=[MARU_V1],
        **CLIENT_OPTIONS,
    ) as connection:
        yield WireClient(connection, server.deliveries, person.token)


async def resumed(client: WireClient, room: PopulatedRoom, frames: list[Frame]) -> Timeline:
    """Return the timeline of a client that received these frames and then resumes."""
    timeline = Timeline()
    for frame in frames:
        timeline.apply(frame)
    timeline.apply(await client.command("room.join", room=room.id, **timeline.join()))
    assert not timeline.gap
    return timeline


@pytest.mark.parametrize("position", [[1, 10**6], [1, 2**53 - 1], [7, 3], [2**31 - 1, 0]])
async def test_position_beyond_the_answer_gets_the_whole_answer(
    server: Server, room: PopulatedRoom, owner: Person, member: Person, position: list[int]
) -> None:
    async with server.client(owner) as client, server.client(member) as second_client:
        await client.join(room.id)
        async with client.asking(room.id, "fault-hang-after-3") as run:
            delivered = await client.find(
                lambda f: f["type"] == "message.delta" and run_of(f) == run
            )
            await client.find(lambda _: streamed(client.of_run(run)).endswith("t2 "))
            claimed = {delivered["message"]: position}
            snapshot = await second_client.command(
                "room.join", room=room.id, after=None, live=claimed
            )

    (live,) = [one for one in snapshot["live"] if one["run"] == run]
    assert (live["attempt"], live["from"], live["text"]) == (1, 0, "t0 t1 t2 ")


async def test_position_in_a_foreign_answer_is_ignored(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    theirs, ours = rooms[0], rooms[1]
    async with (
        server.client(theirs.members[0]) as client,
        server.client(ours.members[0]) as stranger_client,
    ):
        await client.join(theirs.id)
        async with client.asking(theirs.id, "fault-hang-after-3") as run:
            delivered = await client.find(
                lambda f: f["type"] == "message.delta" and run_of(f) == run
            )
            claimed = {delivered["message"]: [1, 0]}
            snapshot = await stranger_client.command(
                "room.join", room=ours.id, after=0, live=claimed
            )

    assert run not in [one["run"] for one in snapshot["live"]]
    assert {event["room"] for event in snapshot["events"]} == {ours.id}


async def next_frame(client: WireClient) -> Frame | None:
    """Return the next frame, or None after a second without one: the last may have been dropped."""
    try:
        async with asyncio.timeout(1):
            return await client.receive()
    except TimeoutError:
        return None


async def test_state_plus_events_equals_a_new_state(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    room, guest = rooms[1], rooms[2].members[3]
    owner = room.members[0]
    server.allow(room, guest)
    members = f"/rooms/{room.id}/members/{guest.user}"
    async with server.client(room.members[1]) as client:
        followed = timeline_at(await client.join(room.id))
        first = followed.seq
        personas = f"/rooms/{room.id}/personas/{client.personas['fault-hang']}"
        for method, path, body in (
            ("PUT", members, {"role": "member"}),
            ("PUT", members, {"role": "moderator"}),
            ("DELETE", members, None),
            ("PUT", members, {"role": "reader"}),
            ("DELETE", personas, None),
            ("PATCH", f"/rooms/{room.id}", {"topic": "새 주제", "answer_policy": "mention"}),
            ("PUT", personas, None),
            ("DELETE", members, None),
            ("PUT", f"/rooms/{room.id}/members/{room.members[3].user}", {"role": "moderator"}),
            ("PATCH", f"/rooms/{room.id}", {"topic": "", "answer_policy": "default"}),
        ):
            assert server.request(method, path, owner, body).status < 300, (method, path)
        for model in ("echo", "fault-401", "tokens-60@200"):
            await client.ended(await client.ask(room.id, model))
        hanging = await client.ask(room.id, "fault-hang-after-3")
        await client.event("run.started", hanging)
        last = await client.send(room.id, "last")
        await client.event("message.created", seq=last["seq"])

        for frame in client.of_room(room.id)[1:]:
            followed.apply(frame)
        caught_up = timeline_at(client.frames[0])
        caught_up.apply(await client.join(room.id, first))
        state = timeline_at(await client.join(room.id))
        await client.command("run.cancel", run=hanging)

    for one in (followed, caught_up):
        assert one.gap is False
        assert one.seq == state.seq
        assert one.room == state.room
        assert one.members == state.members
        assert one.member_count == state.member_count
        assert one.personas == state.personas
        assert without_text(one.runs) == without_text(state.runs)
        newest = {message: one.messages.get(message) for message in state.messages}
        assert newest == state.messages


def without_text(runs: dict[str, Frame]) -> dict[str, Frame]:
    """Return the runs without their positions, which change without a durable event."""
    return {run: {**delivered, "position": None} for run, delivered in runs.items()}
