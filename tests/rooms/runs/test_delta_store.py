"""What the store keeps of unfinished answers; both of its forms, held to the same."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from django.conf import settings as django_settings
from pytest_django import Settings

from rooms import redis_store
from rooms.redis_store import PAUSE_SECONDS
from rooms.runs import delta_store as delta_store_module
from rooms.runs.delta_store import (
    TTL_RENEWED_EVERY,
    TTL_SECONDS,
    DeltaStore,
    MemoryDeltaStore,
    RedisDeltaStore,
)
from tests.cluster.harness.services import Redis
from tests.deadlines import DEADLINE, scaled
from tests.live import free_port

HAS_REDIS = shutil.which("redis-server") is not None
needs_redis = pytest.mark.skipif(not HAS_REDIS, reason="redis-server is not installed")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with Redis() as started:
        yield started


@asynccontextmanager
async def store_on(url: str) -> AsyncIterator[DeltaStore]:
    """A store with clients of its own, which are closed behind it."""
    django_settings.REDIS_URL = url
    redis_store.async_client.cache_clear()
    redis_store.sync_client.cache_clear()
    redis_store._backoff_until = 0.0  # what another test has found out
    try:
        yield RedisDeltaStore()
    finally:
        await redis_store.async_client().aclose()
        redis_store.sync_client().close()
        redis_store.async_client.cache_clear()
        redis_store.sync_client.cache_clear()


@pytest_asyncio.fixture(
    loop_scope="module",
    params=["memory", pytest.param("redis", marks=needs_redis)],
)
async def store(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[DeltaStore]:
    if request.param == "memory":
        yield MemoryDeltaStore()
        return
    settings.REDIS_URL = request.getfixturevalue("server").url
    async with store_on(settings.REDIS_URL) as kept:
        yield kept


@pytest_asyncio.fixture(loop_scope="module")
async def on_redis(server: Redis, settings: Settings) -> AsyncIterator[DeltaStore]:
    settings.REDIS_URL = server.url
    async with store_on(server.url) as kept:
        yield kept


async def fill(store: DeltaStore, message: UUID, attempt: int, *texts: str) -> int | None:
    """Append delta by delta, as an answer does; return how many are kept."""
    kept: int | None = 0
    for number in range(1, len(texts) + 1):
        kept = await store.append(message, attempt, texts[:number], kept or 0)
    return kept


async def held(store: DeltaStore, message: UUID, attempt: int, since: int = 0) -> list[str]:
    found = await store.read(message, attempt, since)
    assert found is not None
    return found.deltas


async def test_nothing_kept_is_nothing(store: DeltaStore) -> None:
    assert await held(store, uuid4(), 1) == []


async def test_deltas_come_back_from_where_one_asks(store: DeltaStore) -> None:
    message = uuid4()
    assert await fill(store, message, 1, "가", "나\n", "", "🪵") == 4

    assert await held(store, message, 1) == ["가", "나\n", "", "🪵"]
    assert await held(store, message, 1, 2) == ["", "🪵"]
    assert await held(store, message, 1, 4) == []
    assert await held(store, message, 1, 2**53 - 1) == []
    assert store.close(message, 1) == "가나\n🪵"


async def test_attempts_are_apart(store: DeltaStore) -> None:
    message = uuid4()
    await fill(store, message, 1, "old")
    await fill(store, message, 2, "new", "er")

    assert await held(store, message, 2) == ["new", "er"]
    assert await held(store, message, 3) == []


async def test_what_nobody_knows_to_be_kept_is_given_again_and_kept_once(
    store: DeltaStore,
) -> None:
    message = uuid4()
    await fill(store, message, 1, "a", "b")

    assert await store.append(message, 1, ["a", "b", "c"], 0) == 3

    assert await held(store, message, 1) == ["a", "b", "c"]


async def test_forgotten_answer_is_gone_and_a_newer_attempt_stays(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooms.runs.delta_store.LINGER_SECONDS", 0)
    message = uuid4()
    await fill(store, message, 2, "kept")
    await store.expire(message, 1)
    await asyncio.sleep(0)
    assert await held(store, message, 2) == ["kept"]

    await store.expire(message, 2)
    for _turn in range(1_000):
        await asyncio.sleep(0)

    assert await held(store, message, 2) == []


async def test_sealed_answer_takes_in_nothing_more(store: DeltaStore) -> None:
    message, silent = uuid4(), uuid4()
    assert await fill(store, message, 1, "shown") == 1

    assert store.close(message, 1) == "shown"
    assert await store.append(message, 1, ["shown", " late"], 1) is None
    assert await store.append(message, 1, ["shown", " late"], 0) is None
    assert store.close(silent, 1) == ""
    assert await fill(store, silent, 1, "late") is None

    assert store.close(message, 1) == "shown"
    assert await held(store, message, 1) == ["shown"]
    assert await fill(store, message, 2, "again") == 1


async def test_answer_that_has_just_ended_can_still_be_read(store: DeltaStore) -> None:
    message = uuid4()
    await fill(store, message, 1, "just ", "said")
    await store.expire(message, 1)
    await asyncio.sleep(0)

    assert await held(store, message, 1) == ["just ", "said"]


@needs_redis
async def test_redis_that_has_forgotten_everything_is_told_all_of_it_again(
    on_redis: DeltaStore, server: Redis
) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "a", "b")
    with server.connect() as beside:
        beside.flushall()

    assert await on_redis.append(message, 1, ["a", "b", "c"], 2) == 3

    assert await held(on_redis, message, 1) == ["a", "b", "c"]


@needs_redis
async def test_what_was_said_while_redis_was_away_is_kept_when_it_is_back(
    on_redis: DeltaStore, server: Redis
) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "a")
    server.stop()
    kept = await on_redis.append(message, 1, ["a", "b"], 1)
    nothing = await on_redis.read(message, 1)
    server.start()
    await asyncio.sleep(PAUSE_SECONDS)

    assert (kept, nothing) == (0, None)
    assert await on_redis.append(message, 1, ["a", "b", "c"], 0) == 3
    assert await held(on_redis, message, 1) == ["a", "b", "c"]


@needs_redis
async def test_every_stream_has_an_end_that_moves_while_it_grows(
    on_redis: DeltaStore, server: Redis
) -> None:
    message, key = uuid4(), "maru:replay:{}:1"
    texts = ["x"] * TTL_RENEWED_EVERY
    with server.connect() as beside:
        await fill(on_redis, message, 1, *texts[:-1])
        assert 0 < beside.ttl(key.format(message.hex)) <= TTL_SECONDS
        beside.expire(key.format(message.hex), 5)
        await on_redis.append(message, 1, texts, len(texts) - 1)

        assert beside.ttl(key.format(message.hex)) > 5
        on_redis.close(message, 1)
        assert 0 < beside.ttl(key.format(message.hex)) <= TTL_SECONDS


@needs_redis
async def test_more_may_ask_at_once_than_there_are_connections(on_redis: DeltaStore) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "shown")
    at_once = 6 * int(django_settings.REDIS_OPTIONS["max_connections"])

    answers = await asyncio.gather(*(held(on_redis, message, 1) for _ in range(at_once)))

    assert answers == [["shown"]] * at_once


@needs_redis
async def test_restart_of_redis_is_noticed_by_nobody_who_asks_after_it(
    on_redis: DeltaStore, server: Redis
) -> None:
    message = uuid4()
    at_once = int(django_settings.REDIS_OPTIONS["max_connections"])
    await asyncio.gather(*(held(on_redis, message, 1) for _ in range(at_once)))
    on_redis.close(message, 2)

    server.restart()

    for _ in range(at_once):
        assert await held(on_redis, message, 1) == []
    assert await fill(on_redis, message, 1, "shown") == 1
    assert on_redis.close(message, 1) == "shown"


@needs_redis
async def test_delta_that_was_kept_though_nobody_was_told_is_not_taken_for_a_seal(
    on_redis: DeltaStore,
) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "a", "b")

    assert await on_redis.append(message, 1, ["a", "b"], 1) == 2

    assert await held(on_redis, message, 1) == ["a", "b"]


@needs_redis
async def test_redis_that_takes_in_nothing_is_not_told_all_of_it_with_each_delta(
    on_redis: DeltaStore, server: Redis
) -> None:
    message = uuid4()
    with server.connect() as other:
        other.config_set("maxmemory", 1)
        try:
            await fill(on_redis, message, 1, *("lost" for _ in range(200)))
        finally:
            other.config_set("maxmemory", 0)
        refused = other.info("commandstats")["cmdstat_xadd"]["rejected_calls"]

    assert 1 <= refused <= 1_000  # of 20,100


@needs_redis
async def test_redis_that_hangs_is_asked_once_by_those_who_hold_a_room(
    on_redis: DeltaStore, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "PAUSE_SECONDS", DEADLINE)
    asked = []
    client = redis_store.sync_client

    def ask() -> object:
        asked.append("a moment of everybody's")
        return client()

    monkeypatch.setattr(delta_store_module, "sync_client", ask)
    server.freeze()
    try:
        shown = [await asyncio.to_thread(on_redis.close, uuid4(), 1) for _ in range(20)]
    finally:
        server.thaw()

    assert shown == [""] * 20
    assert len(asked) == 1


async def test_answers_go_on_without_redis(settings: Settings) -> None:
    settings.REDIS_URL = ""  # put back at the end of the test
    message = uuid4()
    async with store_on(f"redis://127.0.0.1:{free_port()}/0") as store:
        async with asyncio.timeout(scaled(5)):
            kept = await fill(store, message, 1, *("lost" for _ in range(200)))
            nothing = await store.read(message, 1)

        assert (kept, nothing) == (0, None)
        assert store.close(message, 1) == ""
