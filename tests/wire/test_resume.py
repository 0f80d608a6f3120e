"""Whatever is cut in between: the deltas put end to end are the answer, each exactly once."""

import asyncio
import random

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.cutting import Client, Scissors, timeline_at
from tests.wire.house import House, Tab, run_of
from tests.wire.timeline import Timeline

CONNECTIONS = 220
TABS = 3


async def cut_and_follow(
    house: House, room: PopulatedRoom, scissors: Scissors, connections: int
) -> list[Client]:
    """Ask again and again; one tab hears each answer uncut, the others in pieces."""
    async with house.tab(room.members[0]) as steady:
        known = Timeline()
        known.apply(await steady.join(room.id))
        clients = [
            Client(
                room,
                person,
                [scissors],
                house.ledger,
                timeline=timeline_at(steady.frames[-1]),
            )
            for person in room.members[1 : 1 + TABS]
        ]
        while sum(client.connections for client in clients) < connections:
            run = await steady.ask(room.id, "tokens-60@200")
            await asyncio.gather(*(client.follow(run) for client in clients))
            await steady.ended(run)
            told = [f for f in steady.of_run(run) if f["type"] == "message.delta"]
            for client in clients:
                holds(client, run, told)
                client.frames.clear()
        return clients


def holds(client: Client, run: str, told: list[Frame]) -> None:
    """Hold what a client has received of a run against the stream that nobody cut."""
    text = {delta["seq"]: delta["text"] for delta in told}
    assert list(text) == list(range(len(told)))
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
    if ended.heard_to_the_end:
        assert ended.assembled == whole


async def test_answer_is_whole_after_cuts_at_any_byte(
    house: House, rooms: list[PopulatedRoom]
) -> None:
    chance = random.Random(20261122)
    async with Scissors(house.installation.port, chance).open() as scissors:
        followed = await asyncio.gather(
            *(cut_and_follow(house, room, scissors, CONNECTIONS // len(rooms)) for room in rooms)
        )

    clients = [client for of_room in followed for client in of_room]
    ended = [one for client in clients for one in client.timeline.ended.values()]
    assert sum(client.connections for client in clients) >= CONNECTIONS
    assert sum(one.heard_to_the_end for one in ended) >= len(ended) // 4
    assert all(client.timeline.runs == {} for client in clients)


async def test_hole_in_what_came_is_healed_by_joining_again(
    house: House, room: PopulatedRoom, owner: Person, member: Person
) -> None:
    """The client loses every fifth frame, as if by a bad network."""
    chance = random.Random(3)
    async with house.tab(owner) as steady, house.tab(member) as tab:
        timeline = timeline_at(await tab.join(room.id))
        await steady.join(room.id)
        run = await steady.ask(room.id, "tokens-60@200")
        while run not in timeline.ended:
            frame = await next_frame(tab)
            if frame is None or timeline.hole:
                timeline.apply(await tab.command("room.join", room=room.id, **timeline.join()))
            elif chance.random() > 0.2:
                timeline.apply(frame)
        await steady.ended(run)

    told = "".join(f["text"] for f in steady.of_run(run) if f["type"] == "message.delta")
    assert told.rstrip() == timeline.ended[run].stored
    assert told.startswith(timeline.ended[run].assembled)


async def next_frame(tab: Tab) -> Frame | None:
    """Return the next frame, or None where nothing comes: the last one may have been lost."""
    try:
        async with asyncio.timeout(1):
            return await tab.receive()
    except TimeoutError:
        return None


async def test_old_state_and_events_are_a_fresh_state(
    house: House, rooms: list[PopulatedRoom]
) -> None:
    room, guest = rooms[1], rooms[2].members[3]
    owner = room.members[0]
    house.expect_in(room, guest)
    members = f"/rooms/{room.id}/members/{guest.user}"
    async with house.tab(room.members[1]) as tab:
        followed = timeline_at(await tab.join(room.id))
        first = followed.seq
        personas = f"/rooms/{room.id}/personas/{tab.personas['fault-hang']}"
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
            assert house.ask(method, path, owner, body).status < 300, (method, path)
        for model in ("echo", "fault-401", "tokens-60@200"):
            await tab.ended(await tab.ask(room.id, model))
        hanging = await tab.ask(room.id, "fault-hang-after-3")
        await tab.event("run.started", hanging)
        last = await tab.send(room.id, "last")
        await tab.event("message.created", seq=last["seq"])

        for frame in tab.of_room(room.id)[1:]:
            followed.apply(frame)
        caught_up = timeline_at(tab.frames[0])
        caught_up.apply(await tab.join(room.id, first))
        state = timeline_at(await tab.join(room.id))
        await tab.command("run.cancel", run=hanging)

    for one in (followed, caught_up):
        assert one.hole is False
        assert one.seq == state.seq
        assert one.room == state.room
        assert one.members == state.members
        assert one.personas == state.personas
        assert without_text(one.runs) == without_text(state.runs)
        newest = {message: one.messages.get(message) for message in state.messages}
        assert newest == state.messages


def without_text(runs: dict[str, Frame]) -> dict[str, Frame]:
    """Leave out what moves without an event that lasts."""
    return {run: {**told, "position": None} for run, told in runs.items()}
