"""Connections are cut at any byte, the layer drops messages, Redis loses its data."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from maru.config.backends import redis_options
from tests.chaos.target import Outcome
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Redis
from tests.live import Frame, PopulatedRoom
from tests.provider import Provider
from tests.wire.proxies import CuttingProxy, ReconnectingClient, timeline_at
from tests.wire.server import DeliveryLog, WireClient, run_of

MODEL: Final = "tokens-60@100"
WHOLE: Final = " ".join(f"t{n}" for n in range(60))
CLIENTS_PER_ROOM: Final = 3
LOSSY: Final[dict[str, Any]] = {"DJANGO_SETTINGS_MODULE": "tests.cluster.fanout.lossy_settings"}
"""Keyword arguments of a Cluster whose channel layer drops messages."""

RECOVERY: Final = 2.5
"""Seconds after a fault until no delta may be missing again.

The delta store is not used for 1 s after an error, and the layer's connection reconnects after 1 s.
"""

Fault = Callable[[], Awaitable[None]]


@dataclass
class DeltaTexts:
    """The texts of one run's deltas, as all clients together received them."""

    deltas: dict[tuple[int, int], str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, frame: Frame, run: str) -> None:
        """Record a delta of the run; another text for a known delta is a violation."""
        if frame["type"] == "message.delta" and run_of(frame) == run:
            key = (frame["attempt"], frame["seq"])
            if self.deltas.setdefault(key, frame["text"]) != frame["text"]:
                self.violations.append(f"delta {key} has two texts, one is {frame['text']!r}")


@dataclass
class Tally:
    """Counts and violations of all rooms."""

    cuts: int = 0
    answers: int = 0
    received_to_the_end: int = 0
    violations: list[str] = field(default_factory=list)


async def cut_connections(
    cluster: Cluster, provider: Provider, *, cuts: int, rooms: int = 4, faults: Sequence[Fault] = ()
) -> Outcome:
    """Let clients follow answers over connections that are cut, `cuts` times in total.

    Each client reconnects to a random web process from its position. The faults are injected one
    after another, spread over all cuts, each while answers are streaming.
    """
    options = ("--provider", provider.base_url, "--model", MODEL)
    populated = await asyncio.to_thread(cluster.populate, rooms, 1 + CLIENTS_PER_ROOM, *options)
    tally = Tally()
    due = [cuts * (number + 1) // (len(faults) + 1) for number in range(len(faults))]
    waiting = list(zip(due, faults, strict=True))
    async with AsyncExitStack() as stack:
        followed = [await stack.enter_async_context(_followed(cluster, room)) for room in populated]
        while tally.cuts < cuts:
            fault = waiting.pop(0)[1] if waiting and waiting[0][0] <= tally.cuts else None
            await asyncio.gather(
                *(room.follow_answer(tally, strict=fault is None) for room in followed),
                _inject(fault),
            )
    figures = {
        "cut connections": tally.cuts,
        "answers": tally.answers,
        "answers received live to the end": tally.received_to_the_end,
        "faults of Redis": len(faults),
    }
    return Outcome(dict(figures), tally.violations)


async def _inject(fault: Fault | None) -> None:
    if fault is not None:
        await asyncio.sleep(0.3)  # in the middle of answers, which take 0.6 s
        await fault()
        await asyncio.sleep(RECOVERY)


@dataclass
class FollowedRoom:
    """A room with one asker on a stable connection, and clients whose connections are cut."""

    room: PopulatedRoom
    asker: WireClient
    clients: list[ReconnectingClient]

    async def follow_answer(self, tally: Tally, *, strict: bool) -> None:
        """Ask once, follow the answer to its end and check it.

        `strict` is False while a fault is active: then deltas may be missing.
        """
        before = sum(client.connections for client in self.clients)
        run = await self.asker.ask(self.room.id, MODEL)
        async with asyncio.timeout(120):
            await asyncio.gather(*(client.follow(run) for client in self.clients))
        tally.cuts += sum(client.connections for client in self.clients) - before
        tally.answers += 1
        texts = DeltaTexts()
        for client in self.clients:
            for frame in client.frames:
                texts.add(frame, run)
            client.frames.clear()
        tally.violations += texts.violations
        for client in self.clients:
            tally.violations += _violations(client, run, strict=strict)
            ended = client.timeline.ended.get(run)
            tally.received_to_the_end += ended is not None and ended.received_to_the_end
        self.asker.frames.clear()


def _violations(client: ReconnectingClient, run: str, *, strict: bool) -> list[str]:
    """Return what is wrong with the client's copy of an ended answer."""
    violations = []
    if client.stored(run) != WHOLE:
        violations.append(f"run {run}: the stored text is {client.stored(run)!r}")
    ended = client.timeline.ended.get(run)
    if ended is None:
        return violations
    if not f"{WHOLE} ".startswith(ended.assembled):
        violations.append(f"run {run}: the deltas make {ended.assembled!r}")
    if strict and ended.received_to_the_end and ended.assembled.rstrip() != WHOLE:
        violations.append(f"run {run}: received to the end, the deltas make {ended.assembled!r}")
    return violations


@asynccontextmanager
async def _followed(cluster: Cluster, room: PopulatedRoom) -> AsyncIterator[FollowedRoom]:
    random_source = random.Random(room.id)
    deliveries = DeliveryLog()
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(CuttingProxy(web.port, random_source).open())
            for web in cluster.webs
        ]
        socket = await stack.enter_async_context(cluster.webs[0].socket(room.members[0]))
        asker = WireClient(socket.connection, deliveries, room.members[0].token)
        snapshot = await asker.join(room.id)
        await asker.command("room.leave", room=room.id)
        clients = [
            ReconnectingClient(
                room, person, proxies, deliveries, random_source, timeline_at(snapshot)
            )
            for person in room.members[1:]
        ]
        yield FollowedRoom(room, asker, clients)


def faults_of(redis: Redis) -> list[Fault]:
    """Return three faults: Redis loses its data, restarts, and does not respond for a while."""

    async def flush() -> None:
        with redis.connect() as connection:
            await asyncio.to_thread(connection.flushall)

    async def restart() -> None:
        await asyncio.to_thread(redis.restart)

    async def freeze() -> None:
        redis.freeze()
        await asyncio.sleep(1 + redis_options()["socket_timeout"])
        redis.thaw()

    return [flush, restart, freeze]
