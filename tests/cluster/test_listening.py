"""A worker is woken by whoever commits, wherever that is, and after its connection was lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pytest_django import Settings

from maru import listening
from maru.lifespan import running
from rooms.wake import CHANNEL, bell
from tests.cluster.services import Postgres
from tests.live import PATIENCE


@pytest_asyncio.fixture
async def woken(
    postgres: Postgres, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.Event]:
    """The event of a runner that listens, and has looked at what was there before."""
    settings.DATABASE_URL = postgres.url
    monkeypatch.setattr(listening, "RETRY_SECONDS", 0.05)
    event = bell.hang()
    async with running(listening.listen(), "listening"):
        await rung(event)
        yield event
    bell.take_down()


async def rung(event: asyncio.Event) -> None:
    """Return once the event is set; clear it."""
    async with asyncio.timeout(PATIENCE):
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
    ring = bell.ring

    def counted() -> None:
        rings.append(CHANNEL)
        ring()

    monkeypatch.setattr(bell, "ring", counted)

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
