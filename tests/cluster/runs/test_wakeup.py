"""A commit of any process wakes the workers, also after the listening connection was lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_django import Settings

from maru.server import pg_listener
from maru.server.lifespan import running
from rooms.runs.notifications import CHANNEL, wakeup
from tests.cluster.harness.cluster import Cluster, Worker, private_cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE
from tests.maru.server.starting import break_crewai


@pytest_asyncio.fixture
async def woken(
    postgres: Postgres, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.Event]:
    """The wake-up event of a runner that listens and has polled the queue once."""
    settings.DATABASE_URL = postgres.url
    monkeypatch.setattr(pg_listener, "RETRY_SECONDS", 0.05)
    wakeup.attach()
    event = wakeup.queued
    async with running(pg_listener.listen(), "listening"):
        await notified(event)
        yield event
    wakeup.detach()


async def notified(event: asyncio.Event) -> None:
    """Wait until the event is set, and clear it."""
    async with asyncio.timeout(DEADLINE):
        await event.wait()
    event.clear()


async def test_notification_of_another_process_sets_the_event(
    postgres: Postgres, woken: asyncio.Event
) -> None:
    with postgres.connect() as other:
        other.execute(f"NOTIFY {CHANNEL}")

    await notified(woken)


async def test_notification_is_delivered_at_commit_and_dropped_by_a_rollback(
    postgres: Postgres, woken: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifications = []
    notify = wakeup.notify

    def counted() -> None:
        notifications.append(CHANNEL)
        notify()

    monkeypatch.setattr(wakeup, "notify", counted)

    with postgres.connect() as other:
        with pytest.raises(ZeroDivisionError), other.transaction():
            other.execute(f"NOTIFY {CHANNEL}")
            raise ZeroDivisionError
        with other.transaction():
            other.execute(f"NOTIFY {CHANNEL}")

    # PostgreSQL delivers notifications in the order of the commits: an earlier one would be here.
    await notified(woken)
    assert len(notifications) == 1


async def test_lost_connection_is_replaced_and_the_queue_polled(
    postgres: Postgres, woken: asyncio.Event
) -> None:
    for _ in range(3):
        assert postgres.end_connections(query="LISTEN") == 1
        await notified(woken)

    with postgres.connect() as other:
        other.execute(f"NOTIFY {CHANNEL}")
    await notified(woken)


async def test_listener_reconnects_after_a_restart_of_the_database(
    postgres: Postgres, woken: asyncio.Event
) -> None:
    await asyncio.to_thread(postgres.restart)
    await notified(woken)

    with postgres.connect() as other:
        other.execute(f"NOTIFY {CHANNEL}")
    await notified(woken)


def test_worker_ends_when_crewai_cannot_be_imported(
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
        worker.kill()


class UnpolledWorker(Worker):
    """A worker that polls the queue once at its start, and then only when it is woken."""

    code = """
import os
import django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
django.setup()
from django.core.management import call_command
from rooms.runs import runner
runner.POLL_SECONDS = 1_000_000
call_command("runagents")
"""
    entry = ("-c", code)


async def test_committed_question_wakes_a_worker_that_does_not_poll(tmp_path: Path) -> None:
    with private_cluster(tmp_path, "127.0.0.1:9", webs=1, worker=UnpolledWorker) as cluster:
        (room,) = await asyncio.to_thread(cluster.populate, 1, 1)
        async with cluster.webs[0].socket(room.members[0]) as socket:
            await socket.join(room.id)
            await socket.say(room.id, "A question")

            await socket.until_type("run.started")
