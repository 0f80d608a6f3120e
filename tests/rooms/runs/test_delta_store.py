"""The delta store: the same tests for both implementations, and tests of Redis only."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from django.conf import settings as django_settings
from pytest_django import Settings

from rooms import redis_clients
from rooms.redis_clients import PAUSE_SECONDS
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
    """Yield a store with new Redis clients, which are closed at the end."""
    django_settings.REDIS_URL = url
    redis_clients.async_client.cache_clear()
    redis_clients.sync_client.cache_clear()
    redis_clients._backoff_until = 0.0  # another test may have set it
    store = RedisDeltaStore()
    try:
        yield store
    finally:
        await store.aclose()
        await redis_clients.async_client().aclose()
        redis_clients.sync_client().close()
        redis_clients.async_client.cache_clear()
        redis_clients.sync_client.cache_clear()


@pytest_asyncio.fixture(
    loop_scope="module",
    params=["memory", pytest.param("redis", marks=needs_redis)],
)
async def store(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[DeltaStore]:
    if request.param == "memory":
        yield MemoryDeltaStore()
        return
    settings.REDIS_URL = request.getfixturevalue("server").url
    async with store_on(settings.REDIS_URL) as redis_deltas:
        yield redis_deltas


@pytest_asyncio.fixture(loop_scope="module")
async def on_redis(server: Redis, settings: Settings) -> AsyncIterator[DeltaStore]:
    settings.REDIS_URL = server.url
    async with store_on(server.url) as redis_deltas:
        yield redis_deltas


async def fill(store: DeltaStore, message: UUID, attempt: int, *texts: str) -> int | None:
    """Append one delta at a time, as a runner does; return how many are stored."""
    stored: int | None = 0
    for number in range(1, len(texts) + 1):
        stored = await store.append(message, attempt, texts[:number], stored or 0)
    return stored


async def stored_deltas(
    store: DeltaStore, message: UUID, attempt: int, since: int = 0
) -> list[str]:
    found = await store.read(message, attempt, since)
    assert found is not None
    return found.deltas


async def test_unknown_answer_has_no_deltas(store: DeltaStore) -> None:
    assert await stored_deltas(store, uuid4(), 1) == []


async def test_read_returns_the_deltas_since_a_seq(store: DeltaStore) -> None:
    message = uuid4()
    assert await fill(store, message, 1, "가", "나\n", "", "🪵") == 4

    assert await stored_deltas(store, message, 1) == ["가", "나\n", "", "🪵"]
    assert await stored_deltas(store, message, 1, 2) == ["", "🪵"]
    assert await stored_deltas(store, message, 1, 4) == []
    assert await stored_deltas(store, message, 1, 2**53 - 1) == []
    assert store.close(message, 1) == "가나\n🪵"


async def test_attempts_are_stored_apart(store: DeltaStore) -> None:
    message = uuid4()
    await fill(store, message, 1, "old")
    await fill(store, message, 2, "new", "er")

    assert await stored_deltas(store, message, 2) == ["new", "er"]
    assert await stored_deltas(store, message, 3) == []


async def test_repeated_deltas_are_stored_once(
    store: DeltaStore,
) -> None:
    message = uuid4()
    await fill(store, message, 1, "a", "b")

    assert await store.append(message, 1, ["a", "b", "c"], 0) == 3

    assert await stored_deltas(store, message, 1) == ["a", "b", "c"]


async def test_expired_attempt_is_dropped_and_a_newer_attempt_is_kept(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooms.runs.delta_store.LINGER_SECONDS", 0)
    message = uuid4()
    await fill(store, message, 2, "kept")
    await store.expire(message, 1)
    await asyncio.sleep(0)
    assert await stored_deltas(store, message, 2) == ["kept"]

    await store.expire(message, 2)
    for _turn in range(1_000):
        await asyncio.sleep(0)

    assert await stored_deltas(store, message, 2) == []


async def test_closed_answer_accepts_no_delta(store: DeltaStore) -> None:
    message, silent = uuid4(), uuid4()
    assert await fill(store, message, 1, "shown") == 1

    assert store.close(message, 1) == "shown"
    assert await store.append(message, 1, ["shown", " late"], 1) is None
    assert await store.append(message, 1, ["shown", " late"], 0) is None
    assert store.close(silent, 1) == ""
    assert await fill(store, silent, 1, "late") is None

    assert store.close(message, 1) == "shown"
    assert await stored_deltas(store, message, 1) == ["shown"]
    assert await fill(store, message, 2, "again") == 1


async def test_expiring_answer_can_be_read_for_a_while(store: DeltaStore) -> None:
    message = uuid4()
    await fill(store, message, 1, "the ", "end")
    await store.expire(message, 1)
    await asyncio.sleep(0)

    assert await stored_deltas(store, message, 1) == ["the ", "end"]


@needs_redis
async def test_all_deltas_are_written_again_after_redis_has_lost_them(
    on_redis: DeltaStore, server: Redis
) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "a", "b")
    with server.connect() as other:
        other.flushall()

    assert await on_redis.append(message, 1, ["a", "b", "c"], 2) == 3

    assert await stored_deltas(on_redis, message, 1) == ["a", "b", "c"]


@needs_redis
async def test_deltas_of_an_outage_of_redis_are_stored_after_it(
    on_redis: DeltaStore, server: Redis
) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "a")
    server.stop()
    stored = await on_redis.append(message, 1, ["a", "b"], 1)
    nothing = await on_redis.read(message, 1)
    server.start()
    await asyncio.sleep(PAUSE_SECONDS)

    assert (stored, nothing) == (0, None)
    assert await on_redis.append(message, 1, ["a", "b", "c"], 0) == 3
    assert await stored_deltas(on_redis, message, 1) == ["a", "b", "c"]


@needs_redis
async def test_ttl_of_a_stream_is_renewed_while_it_grows(
    on_redis: DeltaStore, server: Redis
) -> None:
    message, key = uuid4(), "maru:replay:{}:1"
    texts = ["x"] * TTL_RENEWED_EVERY
    with server.connect() as other:
        await fill(on_redis, message, 1, *texts[:-1])
        assert 0 < other.ttl(key.format(message.hex)) <= TTL_SECONDS
        other.expire(key.format(message.hex), 5)
        await on_redis.append(message, 1, texts, len(texts) - 1)

        assert other.ttl(key.format(message.hex)) > 5
        on_redis.close(message, 1)
        assert 0 < other.ttl(key.format(message.hex)) <= TTL_SECONDS


@needs_redis
async def test_more_concurrent_reads_than_connections_succeed(on_redis: DeltaStore) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "shown")
    at_once = 6 * int(django_settings.REDIS_OPTIONS["max_connections"])

    answers = await asyncio.gather(*(stored_deltas(on_redis, message, 1) for _ in range(at_once)))

    assert answers == [["shown"]] * at_once


@needs_redis
async def test_calls_after_a_restart_of_redis_succeed(on_redis: DeltaStore, server: Redis) -> None:
    message = uuid4()
    at_once = int(django_settings.REDIS_OPTIONS["max_connections"])
    await asyncio.gather(*(stored_deltas(on_redis, message, 1) for _ in range(at_once)))
    on_redis.close(message, 2)

    server.restart()

    for _ in range(at_once):
        assert await stored_deltas(on_redis, message, 1) == []
    assert await fill(on_redis, message, 1, "shown") == 1
    assert on_redis.close(message, 1) == "shown"


@needs_redis
async def test_lost_response_to_an_append_does_not_close_the_stream(
    on_redis: DeltaStore,
) -> None:
    message = uuid4()
    await fill(on_redis, message, 1, "a", "b")

    assert await on_redis.append(message, 1, ["a", "b"], 1) == 2

    assert await stored_deltas(on_redis, message, 1) == ["a", "b"]


@needs_redis
async def test_redis_without_memory_does_not_get_all_deltas_with_each_append(
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
async def test_redis_that_hangs_delays_only_the_first_close(
    on_redis: DeltaStore, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_clients, "PAUSE_SECONDS", DEADLINE)
    calls = []
    client = redis_clients.sync_client

    def get_client() -> object:
        calls.append("close")
        return client()

    monkeypatch.setattr(delta_store_module, "sync_client", get_client)
    server.freeze()
    try:
        texts = [await asyncio.to_thread(on_redis.close, uuid4(), 1) for _ in range(20)]
    finally:
        server.thaw()

    assert texts == [""] * 20
    assert len(calls) == 1


async def test_answers_continue_without_redis(settings: Settings) -> None:
    settings.REDIS_URL = ""  # restores the URL at the end of the test
    message = uuid4()
    async with store_on(f"redis://127.0.0.1:{free_port()}/0") as store:
        async with asyncio.timeout(scaled(5)):
            stored = await fill(store, message, 1, *("lost" for _ in range(200)))
            nothing = await store.read(message, 1)

        assert (stored, nothing) == (0, None)
        assert store.close(message, 1) == ""
