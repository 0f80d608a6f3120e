"""Redis is not there: rooms live on the log, and from when it is back on they are live again."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE, scaled
from tests.live import Frame, Installation, PopulatedRoom, Socket, until
from tests.provider import Provider

LIVE_AGAIN = scaled(10)
MODEL, WHOLE = "tokens-60@100", " ".join(f"t{n}" for n in range(60))


class Unready(Installation):
    """A web process that is not ready while Redis is away, and serves all the same."""

    def _is_ready(self) -> bool:
        return status(self, "/healthz") == 200


def status(web: Installation, path: str) -> int:
    try:
        with urllib.request.urlopen(web.url + path, timeout=DEADLINE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def readiness(web: Installation) -> Any:
    """Return what /readyz says."""
    try:
        with urllib.request.urlopen(f"{web.url}/readyz", timeout=DEADLINE) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())


def is_ready(web: Installation) -> bool:
    return bool(readiness(web) == {"status": "ok"})


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Cluster]:
    """Two web processes and a worker that were started while Redis was away."""
    redis.stop()
    folder = tmp_path_factory.mktemp("deaf")
    made = Cluster(folder, postgres, redis, MARU_EGRESS_ALLOW=provider.address)
    made.webs = [as_unready(web) for web in made.webs]
    with made as started:
        yield started


def as_unready(web: Installation) -> Unready:
    made = Unready(web.folder)
    made.port, made.env = web.port, web.env
    return made


@pytest.fixture(scope="module")
def room(cluster: Cluster, provider: Provider) -> PopulatedRoom:
    options = ("--provider", provider.base_url, "--model", MODEL)
    return cluster.populate(1, 2, *options)[0]


async def meet(cluster: Cluster, room: PopulatedRoom, stack: AsyncExitStack) -> list[Socket]:
    """Have the owner join at one web process and the member at the other."""
    sockets = []
    for web, person in zip(cluster.webs, room.members, strict=True):
        socket = await stack.enter_async_context(web.socket(person))
        assert (await socket.join(room.id))["type"] == "room.snapshot"
        sockets.append(socket)
    return sockets


def said(seq: int) -> Any:
    return lambda frame: frame["type"] == "message.created" and frame["seq"] == seq


async def test_redis_that_is_away_at_the_start_is_waited_for_while_rooms_live_on_the_log(
    cluster: Cluster, room: PopulatedRoom, redis: Redis
) -> None:
    ready = [await asyncio.to_thread(readiness, web) for web in cluster.webs]
    pages = [await asyncio.to_thread(status, web, "/accounts/login/") for web in cluster.webs]
    async with AsyncExitStack() as stack:
        owner, member = await meet(cluster, room, stack)
        persona = owner.frames[-1]["state"]["personas"][0]["id"]
        first = await owner.say(room.id, "while it is away", personas=[persona])
        await member.until(said(first["result"]["seq"]))
        whole = await member.until_type("message.completed")

        redis.start()
        async with asyncio.timeout(LIVE_AGAIN):
            while not member.of_type("message.delta"):
                await owner.say(room.id, "Are you live?", personas=[persona])
                await member.until_type("run.completed")
        for web in cluster.webs:
            await asyncio.to_thread(until, partial(is_ready, web))

    assert ready == [{"status": "unavailable", "reasons": ["layer"]}] * 2
    assert pages == [200, 200]
    assert whole["message"]["text"] == WHOLE
    assert gapless(owner.frames)
    assert gapless(member.frames)


@pytest.mark.parametrize("fault", ["restarted", "frozen"])
async def test_redis_that_goes_in_mid_answer_loses_no_message_and_no_end(
    cluster: Cluster, room: PopulatedRoom, redis: Redis, fault: str
) -> None:
    async with AsyncExitStack() as stack:
        owner, member = await meet(cluster, room, stack)
        persona = owner.frames[-1]["state"]["personas"][0]["id"]
        await owner.say(room.id, "Go on.", personas=[persona])
        await member.until_type("message.delta")

        if fault == "restarted":
            redis.stop()
        else:
            redis.freeze()
        sent = await owner.say(room.id, "while it is away", personas=[])
        await member.until(said(sent["result"]["seq"]))
        if not member.of_type("message.completed"):
            await member.until_type("message.completed")
        ended = member.of_type("message.completed")[0]["message"]
        if fault == "restarted":
            redis.start()
        else:
            redis.thaw()

        async with asyncio.timeout(LIVE_AGAIN):
            while True:
                member.frames.clear()
                await owner.say(room.id, "Are you live?", personas=[persona])
                await member.until_type("run.completed")
                if member.of_type("message.delta"):
                    break

    assert ended["text"] == WHOLE
    assert gapless(owner.frames)


def gapless(frames: list[Frame]) -> bool:
    """Whether what came of the log, from the snapshot on, has every seq once and in order."""
    (snapshot,) = [frame for frame in frames if frame["type"] == "room.snapshot"]
    area = ("message", "run", "member", "room", "persona", "reaction")
    seqs = [
        frame["seq"]
        for frame in frames[frames.index(snapshot) + 1 :]
        if frame["type"].split(".")[0] in area and "seq" in frame
        if frame["type"] not in ("message.delta", "room.activity", "room.snapshot")
    ]
    return seqs == list(range(snapshot["seq"] + 1, snapshot["seq"] + 1 + len(seqs)))
