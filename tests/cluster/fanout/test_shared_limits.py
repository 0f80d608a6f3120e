"""Rate limits, SSE streams and deletions across several processes."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis as redis_client
from pytest_django import Settings

from accounts.rate_limits import LIMITS, RateLimit, RedisCounters
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import REVOCATION
from tests.live import Installation, Person, PopulatedRoom, until
from tests.provider import Provider
from tests.wire.event_stream import event_stream

MODEL = "tokens-3000@50"


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Cluster]:
    """Two web processes with rate limits, and a worker."""
    folder: Path = tmp_path_factory.mktemp("limits")
    with Cluster(
        folder, postgres, redis, MARU_EGRESS_ALLOW=provider.address, MARU_RATE_LIMITS="on"
    ) as started:
        yield started


@pytest.fixture
def room(cluster: Cluster, provider: Provider) -> PopulatedRoom:
    """A new room, whose rate limits are unused."""
    return cluster.populate(1, 2, "--provider", provider.base_url, "--model", MODEL)[0]


def post(web: Installation, room: PopulatedRoom, person: Person) -> int:
    body = {"text": "x", "personas": []}
    return web.request("POST", f"/rooms/{room.id}/messages", person.token, body)[0]


def test_all_processes_share_the_rate_limits(cluster: Cluster, room: PopulatedRoom) -> None:
    most = LIMITS["send", "user"].max_count
    owner, member = room.members
    first_web, second_web = cluster.webs

    statuses = [
        post(web, room, owner) for _ in range(most // 2 + 5) for web in (first_web, second_web)
    ]

    assert statuses == [201] * most + [429] * 10
    assert post(second_web, room, member) == 201


def test_counters_share_a_limit_and_its_expiry(redis: Redis, settings: Settings) -> None:
    settings.REDIS_URL = redis.url
    counters = [RedisCounters() for _ in range(4)]
    key, client = f"maru:limit:{uuid4().hex}", redis_client.Redis.from_url(redis.url)
    counts = [(key, RateLimit(10, 3_600))]

    waits = [counters[number % 4].consume(counts) for number in range(14)]
    assert waits[:10] == [None] * 10
    assert all(wait is not None and 0 < wait <= 3_600 for wait in waits[10:])
    client.pexpire(key, 1)
    until(lambda: not client.exists(key))
    assert [each.consume(counts) for each in counters] == [None] * 4
    client.close()


def test_requests_are_not_limited_while_redis_is_stopped(
    cluster: Cluster, room: PopulatedRoom, redis: Redis
) -> None:
    owner = room.members[0]
    redis.stop()
    try:
        statuses = {post(cluster.webs[0], room, owner) for _ in range(3)}
    finally:
        redis.start()

    assert statuses == {201}


async def test_sse_stream_ends_when_its_member_is_removed_on_the_other_process(
    cluster: Cluster, room: PopulatedRoom
) -> None:
    owner, member = room.members
    first_web, second_web = cluster.webs
    async with event_stream(first_web, room.id, member.token) as stream:
        await stream.until_type("member.added")
        second_web.request("DELETE", f"/rooms/{room.id}/members/{member.user}", owner.token)
        await stream.until_end(seconds=REVOCATION)

    assert stream.events[-1] == {"type": "room.removed", "room": room.id}


async def test_answer_deleted_on_the_other_process_stops_and_its_deltas_are_removed(
    cluster: Cluster, room: PopulatedRoom, redis: Redis
) -> None:
    owner, member = room.members
    first_web, second_web = cluster.webs
    async with event_stream(first_web, room.id, member.token) as stream:
        second_web.request("POST", f"/rooms/{room.id}/messages", member.token, {"text": "Go on."})
        answer = (await stream.until_type("message.delta"))["message"]
        assert second_web.request("DELETE", f"/messages/{answer}", owner.token)[0] == 204
        deleted = await stream.until_type("message.deleted")
        posted = first_web.request("POST", f"/rooms/{room.id}/messages", owner.token, {"text": "x"})
        await stream.until(lambda event: event.get("seq") == posted[1]["message"]["seq"])

    later = stream.events[stream.events.index(deleted) :]
    assert not [e for e in later if e["type"] == "message.delta" and e["message"] == answer]
    with redis_client.Redis.from_url(redis.url) as client:
        (key,) = client.keys(f"maru:replay:*{answer.replace('-', '')}*")
        assert [fields for _, fields in client.xrange(key)] == [{b"closed": b""}]
