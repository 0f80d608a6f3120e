"""A worker is woken by whoever commits, wherever that is, and after its connection was lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_django import Settings

from maru.server import pg_listener
from maru.server.lifespan import running
from rooms.runs.notifications import CHANNEL, wakeup
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE
from tests.maru.server.starting import break_crewai


@pytest_asyncio.fixture
async def woken(
    postgres: Postgres, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.Event]:
    """The event of a runner that listens, and has looked at what was there before."""
    settings.DATABASE_URL = postgres.url
    monkeypatch.setattr(pg_listener, "RETRY_SECONDS", 0.05)
    wakeup.attach()
    event = wakeup.queued
    async with running(pg_listener.listen(), "listening"):
        await rung(event)
        yield event
    wakeup.detach()


async def rung(event: asyncio.Event) -> None:
    """Return once the event is set; clear it."""
    async with asyncio.timeout(DEADLINE):
        await event.wait()
    event.clear()


async def test_notification_of_another_process_rings(
    postgres: Postgres, woken: asyncio.Event
) -> None:
    with postgres.connect() as other:
        other.execute(f"NOTIFY {CHANNEL}")

    await rung(woken)


async def test_notification_waits_for_the_commit_and_dies_with_a_rollback(
    postgres: Postgres, woken: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings = []
    ring = wakeup.notify

    def counted() -> None:
        rings.append(CHANNEL)
        ring()

    monkeypatch.setattr(wakeup, "notify", counted)

    with postgres.connect() as other:
        with pytest.raises(ZeroDivisionError), other.transaction():
            other.execute(f"NOTIFY {CHANNEL}")
            raise ZeroDivisionError
        with other.transaction():
            other.execute(f"NOTIFY {CHANNEL}")

    # They come in the order of the commits: what is not there before this one never comes.
    await rung(woken)
    assert len(rings) == 1


async def test_connection_that_is_lost_is_made_again_and_the_queue_looked_at(
    postgres: Postgres, woken: asyncio.Event
) -> None:
    for _ in range(3):
        assert postgres.end_connections(query="LISTEN") == 1
        await rung(woken)

    with postgres.connect() as other:
        other.execute(f"NOTIFY {CHANNEL}")
    await rung(woken)


async def test_database_that_restarts_is_listened_to_again(
    postgres: Postgres, woken: asyncio.Event
) -> None:
    await asyncio.to_thread(postgres.restart)
    await rung(woken)

    with postgres.connect() as other:
        other.execute(f"NOTIFY {CHANNEL}")
    await rung(woken)


def test_worker_that_has_lost_a_part_of_itself_ends_and_does_not_stay_idle(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    cluster = Cluster(tmp_path, postgres, redis)
    cluster.prepare()
    (worker,) = cluster.workers
    worker.env = {**worker.env, **break_crewai(tmp_path)}
    worker.start()
    process = worker.process
    assert process is not None
    try:
        cluster.wait_for_workers()
        (tmp_path / "go").touch()

        assert process.wait(DEADLINE) == 1
        assert "companion.ended" in worker.output
    finally:
        worker.end()
