"""Whatever is cut in between: the deltas put end to end are the answer, each exactly once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.live import MARU_V1, Frame, Person, PopulatedRoom
from tests.wire.house import House, Tab, run_of
from tests.wire.timeline import Timeline

CONNECTIONS = 220
TABS = 3


class Scissors:
    """A way to the server that lets so many bytes through and then cuts the wire."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = 0
        self._server_port = port
        self._chance = chance
        self._carrying: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Scissors"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await asyncio.gather(*self._carrying)

    def _connected(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        # A task of our own: what `start_server` makes of a coroutine cannot be awaited.
        task = asyncio.create_task(self._carry(here, back))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, on = await asyncio.open_connection("127.0.0.1", self._server_port)
        asking = asyncio.create_task(self._pass(here, on, None))
        telling = asyncio.create_task(self._pass(there, back, self._chance.randint(150, 7_000)))
        await asyncio.wait({asking, telling}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asking, telling):
            task.cancel()
        await asyncio.gather(asking, telling, return_exceptions=True)
        for writer in (on, back):
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int | None
    ) -> None:
        while most is None or most > 0:
            data = await source.read(2**16 if most is None else min(most, 2**16))
            if not data:
                return
            most = None if most is None else most - len(data)
            sink.write(data)
            await sink.drain()


@dataclass
class Client:
    """A tab whose wire is cut again and again, and all that it has ever received."""

    house: House
    room: PopulatedRoom
    person: Person
    scissors: Scissors
    timeline: Timeline = field(default_factory=Timeline)
    frames: list[Frame] = field(default_factory=list)
    connections: int = 0

    async def follow(self, run: str) -> None:
        """Come back until the run has ended."""
        while not self._has_heard(run):
            self.connections += 1
            try:
                await self._stay(run)
            except (OSError, EOFError, WebSocketException):
                continue

    async def _stay(self, run: str) -> None:
        async with connect(
            f"ws://127.0.0.1:{self.scissors.port}/ws/",
            additional_headers={"Authorization": f"Bearer {self.person.token}"},
            subprotocols=[MARU_V1],
            max_size=None,
            proxy=None,
            close_timeout=0.1,
        ) as connection:
            tab = Tab(connection, self.house.ledger, self.person.token)
            await self._join(tab)
            while not self._has_heard(run):
                self._take(await tab.receive())
                if self.timeline.hole:
                    await self._join(tab)

    def _has_heard(self, run: str) -> bool:
        return run in self.timeline.ended and run not in self.timeline.runs

    async def _join(self, tab: Tab) -> None:
        await tab.tell(
            {"type": "room.join", "ref": "again", "room": self.room.id, **self.timeline.join()}
        )
        while True:
            frame = await tab.receive()
            self._take(frame)
            if frame["type"] == "room.snapshot":
                return

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.timeline.apply(frame)


async def cut_and_follow(
    house: House, room: PopulatedRoom, scissors: Scissors, connections: int
) -> list[Client]:
    """Ask again and again; one tab hears each answer uncut, the others in pieces."""
    async with house.tab(room.members[0]) as steady:
        known = Timeline()
        known.apply(await steady.join(room.id))
        clients = [
            Client(house, room, person, scissors, timeline_at(steady.frames[-1]))
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


def timeline_at(snapshot: Frame) -> Timeline:
    timeline = Timeline()
    timeline.apply(snapshot)
    return timeline


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
