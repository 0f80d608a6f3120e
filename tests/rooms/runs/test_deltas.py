"""Deltas: batching, retries after a failure, and no lost or repeated text."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import msgspec
import pytest
from django.utils import timezone

from agents.engine_types import PersonaSpec, Surroundings, batch_seconds
from rooms.fanout import publisher
from rooms.fanout.publisher import Delta, Envelope
from rooms.runs.delta_store import delta_store
from rooms.runs.deltas import Deltas
from rooms.runs.lifecycle import Job
from tests.agents.engine.answers import PERSONA
from tests.deadlines import scaled
from tests.rooms.fanout.harness import lease_is_valid


def make_job(spec: PersonaSpec = PERSONA) -> Job:
    return Job(
        run=uuid4(),
        team=spec.team_id,
        room=uuid4(),
        message=uuid4(),
        owner="worker",
        attempt=1,
        base=0,
        spec=spec,
        turns=[],
        surroundings=Surroundings(name="room", topic="", asker="Member"),
        started_at=timezone.now(),
    )


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """The deltas that were published: seq and text."""
    published: list[tuple[int, str]] = []

    def publish(envelope: Envelope) -> None:
        assert isinstance(envelope, Delta)
        published.append((envelope.seq, msgspec.json.decode(envelope.frame)["text"]))

    monkeypatch.setattr(publisher, "publish", publish)
    return published


def failing_at(number: int) -> Callable[[], Awaitable[bool]]:
    """Return a lease check that raises at call `number`, counted from one."""
    calls = 0

    async def owns_run() -> bool:
        nonlocal calls
        calls += 1
        if calls == number:
            raise ZeroDivisionError
        return True

    return owns_run


async def test_first_text_is_published_at_once_and_the_rest_in_batches(
    published: list[tuple[int, str]],
) -> None:
    deltas = Deltas(make_job(), lease_is_valid)

    for word in ("a", "b", "c"):
        await deltas.add(word)
    assert published == [(0, "a")]

    await asyncio.sleep(scaled(4 * batch_seconds(0)))
    assert published == [(0, "a"), (1, "bc")]


async def test_text_of_a_failed_flush_is_published_by_the_next(
    published: list[tuple[int, str]],
) -> None:
    job = make_job()
    deltas = Deltas(job, failing_at(2))

    await deltas.add("a")
    await deltas.add("b")
    await asyncio.sleep(scaled(4 * batch_seconds(0)))  # the flush of the timer fails
    assert published == [(0, "a")]
    await deltas.add("c")
    await deltas.close()

    stored = await delta_store().read(job.message, 1)
    assert stored is not None
    assert "".join(text for _, text in published) == deltas.text == "".join(stored.deltas) == "abc"
    assert [seq for seq, _ in published] == list(range(len(published)))


async def test_discarded_text_is_not_published(published: list[tuple[int, str]]) -> None:
    deltas = Deltas(make_job(), lease_is_valid)

    await deltas.add("a")
    await deltas.add("b")
    await deltas.discard()
    await asyncio.sleep(scaled(4 * batch_seconds(0)))

    assert published == [(0, "a")]


async def test_text_that_is_discarded_during_its_flush_does_not_count_as_published(
    published: list[tuple[int, str]],
) -> None:
    flushing = asyncio.Event()
    checks = 0

    async def owns_run() -> bool:
        nonlocal checks
        checks += 1
        if checks == 2:
            flushing.set()
            await asyncio.Event().wait()
        return True

    deltas = Deltas(make_job(), owns_run)
    await deltas.add("a")
    await deltas.add("b")
    await flushing.wait()

    await deltas.discard()

    assert (deltas.text, published) == ("a", [(0, "a")])


async def test_text_until_a_time_has_the_deltas_that_were_published_before(
    published: list[tuple[int, str]],
) -> None:
    deltas = Deltas(make_job(), lease_is_valid)
    clock = asyncio.get_running_loop().time
    await deltas.add("a")
    stopped_at = clock()
    await deltas.add("b")
    await deltas.flush()

    assert deltas.text_until(stopped_at) == "a"
    assert deltas.text_until(clock() + 1) == deltas.text == "ab"
