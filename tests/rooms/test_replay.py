"""What the replay keeps of unfinished answers; both of its forms, held to the same."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from django.conf import settings as django_settings
from pytest_django import Settings

from rooms import redis_store
from rooms.replay import MemoryReplay, RedisReplay, Replay
from tests.live import free_port, until

HAS_REDIS = shutil.which("redis-server") is not None
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as server:
        until(lambda: _answers(port))
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


def _answers(port: int) -> bool:
    ping = ["redis-cli", "-p", str(port), "ping"]
    return subprocess.run(ping, capture_output=True, check=False).stdout == b"PONG\n"


@asynccontextmanager
async def replay_on(url: str) -> AsyncIterator[Replay]:
    """A replay with clients of its own, which are closed behind it."""
    django_settings.REDIS_URL = url
    redis_store.store.cache_clear()
    redis_store.store_of_threads.cache_clear()
    try:
        yield RedisReplay()
    finally:
        await redis_store.store().aclose()
        redis_store.store_of_threads().close()
        redis_store.store.cache_clear()
        redis_store.store_of_threads.cache_clear()


@pytest_asyncio.fixture(
    loop_scope="module",
    params=[
        "memory",
        pytest.param(
            "redis",
            marks=pytest.mark.skipif(not HAS_REDIS, reason="redis-server is not installed"),
        ),
    ],
)
async def replay(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Replay]:
    if request.param == "memory":
        yield MemoryReplay()
        return
    settings.REDIS_URL = request.getfixturevalue("redis_url")
    async with replay_on(settings.REDIS_URL) as kept:
        yield kept


async def fill(replay: Replay, message: UUID, attempt: int, *texts: str) -> None:
    for seq, text in enumerate(texts):
        await replay.append(message, attempt, seq, text)


async def test_nothing_kept_is_nothing(replay: Replay) -> None:
    held = await replay.read(uuid4(), 1)

    assert (held.deltas, held.since, held.seq) == ([], 0, -1)


async def test_deltas_come_back_from_where_one_asks(replay: Replay) -> None:
    message = uuid4()
    await fill(replay, message, 1, "가", "나\n", "", "🪵")

    whole, rest = await replay.read(message, 1), await replay.read(message, 1, 2)

    assert whole.deltas == ["가", "나\n", "", "🪵"]
    assert (rest.deltas, rest.since, rest.seq) == (["", "🪵"], 2, 3)
    assert replay.seal(message, 1) == "가나\n🪵"


async def test_attempts_are_apart(replay: Replay) -> None:
    message = uuid4()
    await fill(replay, message, 1, "old")
    await fill(replay, message, 2, "new", "er")

    assert (await replay.read(message, 2)).deltas == ["new", "er"]
    assert (await replay.read(message, 3)).deltas == []


async def test_what_comes_after_a_hole_is_not_shown(replay: Replay) -> None:
    message = uuid4()
    await replay.append(message, 1, 0, "first")
    await replay.append(message, 1, 2, "third")

    assert (await replay.read(message, 1)).deltas == ["first"]


async def test_forgotten_answer_is_gone_and_a_newer_attempt_stays(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooms.replay.LINGER_SECONDS", 0)
    message = uuid4()
    await fill(replay, message, 2, "kept")
    await replay.forget(message, 1)
    await asyncio.sleep(0)
    assert (await replay.read(message, 2)).deltas == ["kept"]

    await replay.forget(message, 2)
    for _turn in range(1_000):
        await asyncio.sleep(0)

    assert (await replay.read(message, 2)).deltas == []


async def test_sealed_answer_takes_in_nothing_more(replay: Replay) -> None:
    message, silent = uuid4(), uuid4()
    assert await replay.append(message, 1, 0, "shown")

    assert replay.seal(message, 1) == "shown"
    assert not await replay.append(message, 1, 1, " late")
    assert replay.seal(silent, 1) == ""
    assert not await replay.append(silent, 1, 0, "late")

    assert replay.seal(message, 1) == "shown"
    assert (await replay.read(message, 1)).deltas == ["shown"]
    assert await replay.append(message, 2, 0, "again")


async def test_answer_that_has_just_ended_can_still_be_read(replay: Replay) -> None:
    message = uuid4()
    await fill(replay, message, 1, "just ", "said")
    await replay.forget(message, 1)
    await asyncio.sleep(0)

    assert (await replay.read(message, 1)).deltas == ["just ", "said"]


async def test_answers_go_on_without_redis(settings: Settings) -> None:
    settings.REDIS_URL = ""  # put back at the end of the test
    message = uuid4()
    async with replay_on(f"redis://127.0.0.1:{free_port()}/0") as replay:
        async with asyncio.timeout(2):
            await fill(replay, message, 1, *("lost" for _ in range(200)))
            held = await replay.read(message, 1)

        assert held.deltas == []
        assert replay.seal(message, 1) == ""
