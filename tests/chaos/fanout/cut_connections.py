"""Wires are cut at any byte, the layer loses messages, Redis forgets: no text is wrong: REC-01."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from maru.config.backends import redis_options
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Redis
from tests.live import Frame, PopulatedRoom
from tests.provider import Provider
from tests.wire.cutting import Client, Scissors, timeline_at
from tests.wire.house import Ledger, Tab, run_of

MODEL: Final = "tokens-60@100"
WHOLE: Final = " ".join(f"t{n}" for n in range(60))
TABS: Final = 3
LOSSY: Final[dict[str, Any]] = {
    "DJANGO_SETTINGS_MODULE": "tests.cluster.fanout.lossy_settings"
}  # as keywords

# Only then may nothing be missing again: the stores are left alone for a second after they have
# failed, and the layer's own connection waits a second, too, before it comes back.
RECOVERY: Final = 2.5

Fault = Callable[[], Awaitable[None]]


@dataclass
class Seen:
    """What all clients together were told of one run: who says what of which delta."""

    deltas: dict[tuple[int, int], str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def take(self, frame: Frame, run: str) -> None:
        """Note what a frame says of the run, and whether another one has said otherwise."""
        if frame["type"] == "message.delta" and run_of(frame) == run:
            key = (frame["attempt"], frame["seq"])
            if self.deltas.setdefault(key, frame["text"]) != frame["text"]:
                self.complaints.append(f"delta {key} is {frame['text']!r} and was another")


@dataclass
class Tally:
    """How much was done, and all that was wrong."""

    connections: int = 0
    answers: int = 0
    heard_to_the_end: int = 0
    complaints: list[str] = field(default_factory=list)


async def cut_wires(
    cluster: Cluster, provider: Provider, *, cuts: int, rooms: int = 4, faults: Sequence[Fault] = ()
) -> Tally:
    """Have clients follow answers over wires that are cut so many times in all.

    Each comes back to either web process, with what it has. The faults happen one after another,
    spread over the whole, each in the middle of answers.
    """
    options = ("--provider", provider.base_url, "--model", MODEL)
    made = await asyncio.to_thread(cluster.populate, rooms, 1 + TABS, *options)
    tally = Tally()
    due = [cuts * (number + 1) // (len(faults) + 1) for number in range(len(faults))]
    waiting = list(zip(due, faults, strict=True))
    async with AsyncExitStack() as stack:
        parties = [await stack.enter_async_context(_party(cluster, room)) for room in made]
        while tally.connections < cuts:
            fault = waiting.pop(0)[1] if waiting and waiting[0][0] <= tally.connections else None
            await asyncio.gather(
                *(party.round(tally, strict=fault is None) for party in parties), _in_between(fault)
            )
    return tally


async def _in_between(fault: Fault | None) -> None:
    if fault is not None:
        await asyncio.sleep(0.3)  # answers of 0.6 seconds are on their way
        await fault()
        await asyncio.sleep(RECOVERY)


@dataclass
class Party:
    """A room: one who asks, over a wire that holds, and those who follow."""

    room: PopulatedRoom
    asking: Tab
    clients: list[Client]

    async def round(self, tally: Tally, *, strict: bool) -> None:
        """Ask once, follow to the end, and judge; `strict` where no delta may be missing."""
        before = sum(client.connections for client in self.clients)
        run = await self.asking.ask(self.room.id, MODEL)
        async with asyncio.timeout(120):
            await asyncio.gather(*(client.follow(run) for client in self.clients))
        tally.connections += sum(client.connections for client in self.clients) - before
        tally.answers += 1
        seen = Seen()
        for client in self.clients:
            for frame in client.frames:
                seen.take(frame, run)
            client.frames.clear()
        tally.complaints += seen.complaints
        for client in self.clients:
            tally.complaints += judge(client, run, strict=strict)
            ended = client.timeline.ended.get(run)
            tally.heard_to_the_end += ended is not None and ended.heard_to_the_end
        self.asking.frames.clear()


def judge(client: Client, run: str, *, strict: bool) -> list[str]:
    """Say what is wrong with what a client has of an answer that has ended."""
    complaints = []
    if client.stored(run) != WHOLE:
        complaints.append(f"{run}: kept is {client.stored(run)!r}")
    ended = client.timeline.ended.get(run)
    if ended is None:
        return complaints
    if not f"{WHOLE} ".startswith(ended.assembled):
        complaints.append(f"{run}: put together is {ended.assembled!r}")
    if strict and ended.heard_to_the_end and ended.assembled.rstrip() != WHOLE:
        complaints.append(f"{run}: heard to the end, and put together is {ended.assembled!r}")
    return complaints


@asynccontextmanager
async def _party(cluster: Cluster, room: PopulatedRoom) -> AsyncIterator[Party]:
    chance = random.Random(room.id)
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        ways = [
            await stack.enter_async_context(Scissors(web.port, chance).open())
            for web in cluster.webs
        ]
        socket = await stack.enter_async_context(cluster.webs[0].socket(room.members[0]))
        asking = Tab(socket.connection, ledger, room.members[0].token)
        snapshot = await asking.join(room.id)
        await asking.command("room.leave", room=room.id)
        clients = [
            Client(room, person, ways, ledger, chance, timeline_at(snapshot))
            for person in room.members[1:]
        ]
        yield Party(room, asking, clients)


def faults_of(redis: Redis) -> list[Fault]:
    """What happens to Redis, in turn: it forgets, it ends and comes back, it stands still."""

    async def forget() -> None:
        with redis.connect() as beside:
            await asyncio.to_thread(beside.flushall)

    async def restart() -> None:
        await asyncio.to_thread(redis.restart)

    async def stand_still() -> None:
        redis.freeze()
        await asyncio.sleep(1 + redis_options()["socket_timeout"])
        redis.thaw()

    return [forget, restart, stand_still]
