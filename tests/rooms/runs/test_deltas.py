"""Text on its way into a room: none of it is lost on ours, and none is said twice."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import msgspec
import pytest

from agents.engine_types import PersonaSpec, batch_seconds
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
        language="en",
        spec=spec,
        turns=[],
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """The deltas that were published: seq and text."""
    told: list[tuple[int, str]] = []

    def publish(envelope: Envelope) -> None:
        assert isinstance(envelope, Delta)
        told.append((envelope.seq, msgspec.json.decode(envelope.frame)["text"]))

    monkeypatch.setattr(publisher, "publish", publish)
    return told


def failing_at(number: int) -> Callable[[], Awaitable[bool]]:
    """Ask about the lease; fail at that time, counted from one."""
    asked = 0

    async def ask() -> bool:
        nonlocal asked
        asked += 1
        if asked == number:
            raise ZeroDivisionError
        return True

    return ask


async def test_first_text_goes_at_once_and_the_rest_by_the_clock(
    told: list[tuple[int, str]],
) -> None:
    deltas = Deltas(make_job(), lease_is_valid)

    for word in ("a", "b", "c"):
        await deltas.add(word)
    assert told == [(0, "a")]

    await asyncio.sleep(scaled(4 * batch_seconds(0)))
    assert told == [(0, "a"), (1, "bc")]


async def test_text_that_could_not_be_sent_goes_with_what_comes_next(
    told: list[tuple[int, str]],
) -> None:
    job = make_job()
    deltas = Deltas(job, failing_at(2))

    await deltas.add("a")
    await deltas.add("b")
    await asyncio.sleep(scaled(4 * batch_seconds(0)))  # the timer fires, and its append fails
    assert told == [(0, "a")]
    await deltas.add("c")
    await deltas.close()

    held = await delta_store().read(job.message, 1)
    assert held is not None
    assert "".join(text for _, text in told) == deltas.text == "".join(held.deltas) == "abc"
    assert [seq for seq, _ in told] == list(range(len(told)))


async def test_nothing_is_sent_once_it_is_discarded(told: list[tuple[int, str]]) -> None:
    deltas = Deltas(make_job(), lease_is_valid)

    await deltas.add("a")
    await deltas.add("b")
    deltas.discard()
    await asyncio.sleep(scaled(4 * batch_seconds(0)))

    assert told == [(0, "a")]
