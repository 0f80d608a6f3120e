"""Drives a cluster with a load of known activities, and measures the CPU time of each process."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from tests.bench.capacity.model import (
    EVENTS_OF_ANSWER,
    EVENTS_OF_MESSAGE,
    Load,
    Sample,
    scaled,
)
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.resource_usage import cpu_seconds
from tests.live import PopulatedRoom, Socket

QUIET_SECONDS: Final = 2.0
"""What follows an activity (heartbeats, the hub's checks) belongs to the sample."""
DELTA: Final = '{"type":"message.delta"'
COMPLETED: Final = '{"type":"run.completed"'
SNAPSHOT: Final = '{"type":"room.snapshot"'


class Member:
    """A member whose socket has joined one room; counts what arrives without decoding it."""

    def __init__(self, socket: Socket, room: PopulatedRoom) -> None:
        self.room = room
        self.deltas = 0
        self.completed = 0
        self.snapshots = 0
        self.frames = 0
        self._connection = socket.connection
        self._changed = asyncio.Event()

    async def read(self) -> None:
        """Count frames until the connection ends."""
        async for text in self._connection:
            assert isinstance(text, str)
            self.frames += 1
            self.deltas += text.startswith(DELTA)
            self.completed += text.startswith(COMPLETED)
            self.snapshots += text.startswith(SNAPSHOT)
            self._changed.set()

    async def send(self, **fields: Any) -> None:
        await self._connection.send(json.dumps(fields))

    async def post(self, *, ask: bool) -> None:
        """Post a message without waiting for its response."""
        await self.send(
            type="message.send",
            ref="post",
            room=self.room.id,
            client_id=str(uuid4()),
            text="What did the team decide about the new release?",
            reply_to=None,
            personas=None if ask else [],
        )

    async def post_and_wait(self) -> None:
        """Post a message; return when its event and the response have arrived."""
        seen = self.frames + 2
        await self.post(ask=False)
        await self.until(lambda member: member.frames >= seen)

    async def join(self) -> None:
        await self.send(type="room.join", ref="join", room=self.room.id, after=None, live={})

    async def ask(self, after: float = 0.0) -> None:
        """Post a question in `after` seconds; return when its answer has ended."""
        await asyncio.sleep(after)
        wanted = self.completed + 1
        await self.post(ask=True)
        await self.until(lambda member: member.completed >= wanted)

    async def join_again(self) -> None:
        """Join the room with its whole state; return when the snapshot has arrived."""
        wanted = self.snapshots + 1
        await self.join()
        await self.until(lambda member: member.snapshots >= wanted)

    async def until(self, condition: Callable[["Member"], bool]) -> None:
        """Return when the condition is true; it is checked after each frame."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()


class Group:
    """The joined members of some rooms of one size; the first member of each room writes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.writers = list({member.room.id: member for member in reversed(members)}.values())
        self._readers = len(members) / len(self.writers)

    async def post(self, times: int, interval: float = 0.02) -> Load:
        """Post in all rooms in turn; return the sums of what was caused, not rates."""
        for number in range(times):
            await self.writers[number % len(self.writers)].post(ask=False)
            await asyncio.sleep(interval)
        return self._caused(messages=times)

    async def ask(self, rounds: int, interval: float = 0.0) -> Load:
        """Ask in all rooms, each `interval` seconds after another, and again after all answers."""
        before = sum(writer.deltas for writer in self.writers)
        for _ in range(rounds):
            asking = [w.ask(number * interval) for number, w in enumerate(self.writers)]
            await asyncio.gather(*asking)
        deltas = sum(writer.deltas for writer in self.writers) - before
        return self._caused(messages=(n := rounds * len(self.writers)), answers=n, deltas=deltas)

    async def join(self, rounds: int, at_once: int = 20) -> Load:
        """Let all members join again, `at_once` at a time."""
        for _ in range(rounds):
            for start in range(0, len(self.members), at_once):
                some = self.members[start : start + at_once]
                await asyncio.gather(*(member.join_again() for member in some))
        return Load(joins=rounds * len(self.members))

    async def join_changed(self, rounds: int) -> Load:
        """In each room in turn, post a message, then let all members join at once."""
        of_room = {
            writer.room.id: [each for each in self.members if each.room.id == writer.room.id]
            for writer in self.writers
        }
        for _ in range(rounds):
            for writer in self.writers:
                await writer.post_and_wait()
                await asyncio.gather(*(m.join_again() for m in of_room[writer.room.id]))
        posts = rounds * len(self.writers)
        return replace(self._caused(messages=posts), joins=rounds * len(self.members), reads=posts)

    def _caused(self, *, messages: int, answers: int = 0, deltas: int = 0) -> Load:
        published = messages * EVENTS_OF_MESSAGE + answers * EVENTS_OF_ANSWER + deltas
        return Load(
            messages=messages,
            answers=answers,
            deltas=deltas,
            received=published,
            frames=published * self._readers,
        )


@asynccontextmanager
async def joined(cluster: Cluster, rooms: Sequence[PopulatedRoom]) -> AsyncIterator[Group]:
    """Connect and join all members of some rooms on the first web process."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        members = []
        for room in rooms:
            for person in room.members:
                socket = await stack.enter_async_context(cluster.webs[0].socket(person))
                members.append(Member(socket, room))
        readers = [tasks.create_task(member.read()) for member in members]
        await asyncio.gather(*(member.join_again() for member in members))
        yield Group(members)
        for reader in readers:
            reader.cancel()


async def sample(cluster: Cluster, sockets: int, act: Callable[[], Awaitable[Load]]) -> Sample:
    """Measure an activity and QUIET_SECONDS after it; return rates and cores."""
    before, began = _used(cluster), time.monotonic()
    caused = await act()
    await asyncio.sleep(QUIET_SECONDS)
    seconds, after = time.monotonic() - began, _used(cluster)
    rates = scaled(caused, 1 / seconds)
    cores = {kind: (after[kind] - before[kind]) / seconds for kind in after}
    return Sample(replace(rates, sockets=sockets), cores)


def _used(cluster: Cluster) -> Mapping[str, float]:
    """Return the CPU seconds of each kind of process so far."""
    assert cluster.webs[0].process is not None
    assert cluster.postgres.process is not None
    assert cluster.redis.process is not None
    return {
        "web": cpu_seconds(cluster.webs[0].process.pid),
        "worker": sum(cpu_seconds(worker.pid) for worker in cluster.workers),
        "postgres": sum(map(cpu_seconds, _family(cluster.postgres.process.pid))),
        "redis": cpu_seconds(cluster.redis.process.pid),
    }


def _family(parent: int) -> list[int]:
    """Return a process and its children: PostgreSQL has one for each connection."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [parent, *map(int, children)]
