"""Redis is unavailable: rooms work from the log, and stream live again after its return."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from maru.monitoring.stores import CACHE_SECONDS, WAIT_SECONDS
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.room_sockets import join_on_both
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE, scaled
from tests.live import Frame, Installation, PopulatedRoom, until
from tests.provider import Provider
from tests.scraping import scrape

LIVE_AGAIN_SECONDS = scaled(10)
MODEL, WHOLE = "tokens-60@100", " ".join(f"t{n}" for n in range(60))


def get(web: Installation, path: str) -> tuple[int, bytes]:
    """Return status and body of a GET request."""
    try:
        with urllib.request.urlopen(web.url + path, timeout=DEADLINE) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def readiness(web: Installation) -> Any:
    """Return the decoded body of /readyz."""
    return json.loads(get(web, "/readyz")[1])


def is_ready(web: Installation) -> bool:
    return bool(readiness(web) == {"status": "ok"})


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Cluster]:
    """Two web processes and a worker that were started while Redis was stopped."""
    redis.stop()
    folder = tmp_path_factory.mktemp("without-redis")
    with Cluster(folder, postgres, redis, MARU_EGRESS_ALLOW=provider.address) as started:
        yield started


@pytest.fixture(scope="module")
def room(cluster: Cluster, provider: Provider) -> PopulatedRoom:
    options = ("--provider", provider.base_url, "--model", MODEL)
    return cluster.populate(1, 2, *options)[0]


def urls(cluster: Cluster) -> list[str]:
    """Return the addresses that serve metrics."""
    return [*(web.url for web in cluster.webs), *(worker.url for worker in cluster.workers)]


def has(url: str, **values: float) -> bool:
    """Return True if the metrics of a process have these values."""
    samples = scrape(url)
    return all(samples[name] == value for name, value in values.items())


def created_at(seq: int) -> Callable[[Frame], bool]:
    return lambda frame: frame["type"] == "message.created" and frame["seq"] == seq


async def test_rooms_work_from_the_log_until_redis_starts_for_the_first_time(
    cluster: Cluster, room: PopulatedRoom, redis: Redis
) -> None:
    ready = [await asyncio.to_thread(readiness, web) for web in cluster.webs]
    pages = [await asyncio.to_thread(get, web, "/accounts/login/") for web in cluster.webs]
    without = [await asyncio.to_thread(scrape, url) for url in urls(cluster)]
    async with AsyncExitStack() as stack:
        sockets = await join_on_both(cluster, room, stack)
        owner, member = sockets.both
        persona = sockets.personas[MODEL]
        first = await owner.say(room.id, "Sent without Redis.", personas=[persona])
        await member.until(created_at(first["result"]["seq"]))
        completed = await member.until_type("message.completed")

        redis.start()
        async with asyncio.timeout(LIVE_AGAIN_SECONDS):
            while not member.of_type("message.delta"):
                await owner.say(room.id, "Do you stream?", personas=[persona])
                await member.until_type("run.completed")
        for web in cluster.webs:
            await asyncio.to_thread(until, partial(is_ready, web))
    for url in urls(cluster):
        await asyncio.to_thread(until, partial(has, url, maru_redis_up=1))

    assert ready == [{"status": "degraded", "reasons": ["layer"]}] * 2
    assert [status for status, _body in pages] == [200, 200]
    assert [samples["maru_redis_up"] for samples in without] == [0, 0, 0]
    assert completed["message"]["text"] == WHOLE
    assert has_all_seqs(owner.frames)
    assert has_all_seqs(member.frames)


@pytest.mark.parametrize("fault", ["restarted", "frozen"])
async def test_outage_of_redis_during_an_answer_loses_no_message_and_no_final_event(
    cluster: Cluster, room: PopulatedRoom, redis: Redis, fault: str
) -> None:
    async with AsyncExitStack() as stack:
        sockets = await join_on_both(cluster, room, stack)
        owner, member = sockets.both
        persona = sockets.personas[MODEL]
        await sockets.ask(MODEL)
        await member.until_type("message.delta")

        if fault == "restarted":
            redis.stop()
        else:
            redis.freeze()
        sent = await owner.say(room.id, "Sent without Redis.", personas=[])
        await member.until(created_at(sent["result"]["seq"]))
        if not member.of_type("message.completed"):
            await member.until_type("message.completed")
        completed = member.of_type("message.completed")[0]["message"]
        if fault == "restarted":
            redis.start()
        else:
            redis.thaw()

        async with asyncio.timeout(LIVE_AGAIN_SECONDS):
            while True:
                member.frames.clear()
                await owner.say(room.id, "Do you stream?", personas=[persona])
                await member.until_type("run.completed")
                if member.of_type("message.delta"):
                    break

    assert completed["text"] == WHOLE
    assert has_all_seqs(owner.frames)


def test_stopped_database_is_down_in_the_metrics_and_delays_no_scrape(
    cluster: Cluster, postgres: Postgres
) -> None:
    processes = (cluster.webs[0].url, cluster.workers[0].url)
    postgres.stop()
    started = time.monotonic()
    for url in processes:
        until(partial(has, url, maru_database_up=0))
    waited = time.monotonic() - started
    postgres.start()

    for url in processes:
        until(partial(has, url, maru_database_up=1))
    assert waited < len(processes) * (CACHE_SECONDS + 2 * WAIT_SECONDS) + scaled(3)


def has_all_seqs(frames: list[Frame]) -> bool:
    """Return True if the durable events after the snapshot have every seq once and in order."""
    (snapshot,) = [frame for frame in frames if frame["type"] == "room.snapshot"]
    area = ("message", "run", "member", "room", "persona", "reaction")
    seqs = [
        frame["seq"]
        for frame in frames[frames.index(snapshot) + 1 :]
        if frame["type"].split(".")[0] in area and "seq" in frame
        if frame["type"] not in ("message.delta", "room.activity", "room.snapshot")
    ]
    return seqs == list(range(snapshot["seq"] + 1, snapshot["seq"] + 1 + len(seqs)))
