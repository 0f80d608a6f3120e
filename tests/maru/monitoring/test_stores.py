"""Metrics that are read from the stores: a scrape neither fails nor waits if a store is away."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from maru.monitoring import stores
from maru.monitoring.stores import CachedRead, QueueState, RedisState, StoreCollector
from rooms import services
from rooms.models import Run
from rooms.runs import workers
from tests.deadlines import DEADLINE
from tests.live import free_port
from tests.rooms.conftest import Cast, cast

__all__ = ["cast"]


def exported(collector: StoreCollector) -> dict[str, float]:
    """Return every sample of the collector."""
    return {sample.name: sample.value for m in collector.collect() for sample in m.samples}


@pytest.mark.django_db
def test_queue_and_workers_are_read_from_the_database(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "close", lambda: None)  # the connection of the test
    before = stores.read_queue()
    for text in ("one", "two"):
        services.post_message(user=cast.owner, room_id=cast.room.pk, text=text)
    Run.objects.update(queued_at=timezone.now() - timedelta(minutes=5))
    workers.report("worker-1", concurrency=25, running=0)
    workers.report("worker-2", concurrency=25, running=0)

    state = stores.read_queue()

    assert before == QueueState(queued=0, oldest_seconds=0.0, waiting=0, workers=0)
    assert (state.queued, state.workers) == (2, 2)
    assert 300 <= state.oldest_seconds < 300 + DEADLINE


def test_stores_that_are_away_are_down_and_the_rest_is_exported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> QueueState:
        raise OperationalError("CANARY: no route to host db.internal")

    monkeypatch.setattr(stores, "read_queue", away)
    monkeypatch.setattr(stores, "_of_pool", lambda: iter(()))
    settings.EMBEDDED, settings.REDIS_URL = False, f"redis://127.0.0.1:{free_port()}/0"

    assert exported(StoreCollector()) == {"maru_database_up": 0, "maru_redis_up": 0}


def test_redis_without_the_right_to_info_is_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDED = False
    monkeypatch.setattr(stores, "read_queue", lambda: QueueState(0, 0.0, 0, 1))
    monkeypatch.setattr(stores, "read_redis", lambda: RedisState(None, None))
    monkeypatch.setattr(stores, "_of_pool", lambda: iter(()))

    samples = exported(StoreCollector())

    assert samples["maru_redis_up"] == 1
    assert "maru_redis_memory_bytes" not in samples


def test_scrape_does_not_wait_for_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(stores, "CACHE_SECONDS", 0.0)
    answer, reads = threading.Event(), []

    def hang() -> int:
        reads.append(threading.current_thread())
        answer.wait()
        return 7

    read = CachedRead("store", hang)
    for _ in range(3):
        read.start()
        assert read.result() is None
    answer.set()
    reads[0].join(DEADLINE)

    assert len(reads) == 1  # a second thread would wait for the same store
    assert read.result() == 7
    assert reads[0].daemon  # the process can end while the store hangs


def test_read_is_reused_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = iter(range(10))
    read = CachedRead("store", lambda: next(reads))

    def scrape() -> int | None:
        read.start()
        return read.result()

    assert [scrape(), scrape()] == [0, 0]
    later = time.monotonic() + stores.CACHE_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later + 1)
    assert scrape() == 1
