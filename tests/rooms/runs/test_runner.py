"""One worker: what becomes of its runs when it stops, sleeps, fails or loses its database."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import DataError, OperationalError
from django.utils import timezone
from pytest_django import Settings

from agents import engine
from agents.engine_types import Finished, Limits, Part, Text
from rooms import services
from rooms.executors import RUNS, in_thread
from rooms.fanout import publisher
from rooms.fanout.publisher import Delta, Envelope
from rooms.models import Message, Run, RunState, Worker
from rooms.runs import leases, lifecycle, queue, runner
from rooms.runs.delta_store import delta_store
from rooms.runs.deltas import Deltas
from rooms.runs.lifecycle import Job
from rooms.runs.runner import Runner
from tests.deadlines import DEADLINE, scaled
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import lease_is_valid

pytestmark = pytest.mark.django_db(transaction=True)

Answer = Callable[..., AsyncGenerator[Part, None]]
ONE_SECOND = timedelta(seconds=1)


async def at_once(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
    yield Text("all of it")
    yield Finished("all of it", None)


async def never(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
    yield Text("so far")
    await asyncio.Event().wait()


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Say how every persona answers: what the engine does has tests of its own."""
    return lambda fake: monkeypatch.setattr(engine, "answer", fake)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Envelope]:
    told: list[Envelope] = []
    monkeypatch.setattr(publisher, "publish", told.append)
    return told


async def ask(cast: Cast) -> UUID:
    post = sync_to_async(services.post_message)
    return (await post(user=cast.member, room_id=cast.room.pk, text="hello")).runs[0]


async def reload(run_id: UUID) -> Run:
    return await Run.objects.select_related("answer").aget(pk=run_id)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it is so."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110  # no event tells of what is in a database
            await asyncio.sleep(0.01)


async def reached(run_id: UUID, state: str) -> Run:
    """Return the run once it is in this state."""
    await eventually(Run.objects.filter(pk=run_id, state=state).aexists)
    return await reload(run_id)


@asynccontextmanager
async def at_work(concurrency: int = 3, *, drain_seconds: float = 0) -> AsyncIterator[Runner]:
    """Have a worker run; leaving stops it as SIGTERM would."""
    worker = Runner(concurrency)
    worker.start()
    serving = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await worker.drain(drain_seconds)


async def test_what_cannot_end_in_time_is_handed_back_and_may_be_claimed_at_once(
    cast: Cast, answer: Callable[[Answer], None]
) -> None:
    answer(never)
    async with at_work():
        run_id = await ask(cast)
        await reached(run_id, RunState.RUNNING)

    assert (await reload(run_id)).state == RunState.QUEUED
    assert await sync_to_async(queue.claim)("next") == run_id


async def test_what_can_end_in_time_ends(cast: Cast, answer: Callable[[Answer], None]) -> None:
    began, told_to_stop = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        began.set()
        await told_to_stop.wait()
        yield Text("in the end")
        yield Finished("in the end", None)

    answer(slow)
    async with at_work(drain_seconds=DEADLINE):
        run_id = await ask(cast)
        await began.wait()
        asyncio.get_running_loop().call_later(0.1, told_to_stop.set)

    run = await reload(run_id)
    assert run.answer is not None
    assert (run.state, run.answer.text) == (RunState.COMPLETED, "in the end")


async def test_a_claim_under_way_when_told_to_stop_is_handed_back(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(never)
    claiming, claimed = asyncio.Event(), threading.Event()
    loop, take = asyncio.get_running_loop(), lifecycle.claim_and_start

    def slow_take(*args: Any, **kwargs: Any) -> Any:
        taken = take(*args, **kwargs)
        if taken is not None:
            loop.call_soon_threadsafe(claiming.set)
            time.sleep(0.5)  # as long as a busy database may take to say so
            claimed.set()
        return taken

    monkeypatch.setattr(lifecycle, "claim_and_start", slow_take)
    async with at_work():
        run_id = await ask(cast)
        await claiming.wait()
    await asyncio.to_thread(claimed.wait, DEADLINE)

    assert (await reload(run_id)).state == RunState.QUEUED


async def test_a_worker_shows_itself_and_is_gone_when_it_has_stopped(cast: Cast) -> None:
    async with at_work(concurrency=7):
        await eventually(Worker.objects.aexists)
        shown = await Worker.objects.aget()
        assert (shown.concurrency, shown.running) == (7, 0)

    assert await Worker.objects.acount() == 0


async def test_a_stop_reaches_the_answer_without_waiting_for_the_next_beat(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 10 * DEADLINE)
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        try:
            began.set()
            await asyncio.Event().wait()
            yield Text("never")
        finally:
            ended.set()

    answer(endless)
    async with at_work():
        run_id = await ask(cast)
        await began.wait()
        await sync_to_async(services.cancel_run)(user=cast.member, run_id=run_id)
        async with asyncio.timeout(DEADLINE):
            await ended.wait()


async def test_an_answer_that_the_engine_does_not_end_is_ended_from_outside(
    cast: Cast,
    answer: Callable[[Answer], None],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.RUN_SECONDS = scaled(0.5)
    monkeypatch.setattr(runner, "TIMEOUT_GRACE_SECONDS", scaled(0.1))
    answer(never)

    async with at_work():
        run = await reached(await ask(cast), RunState.FAILED)

    assert run.answer is not None
    assert (run.error_code, run.answer.text) == ("timeout", "so far")


async def test_the_limits_of_an_answer_are_those_that_are_set(
    cast: Cast, answer: Callable[[Answer], None], settings: Settings
) -> None:
    settings.RUN_SECONDS, settings.RUN_CHARACTERS, settings.RUN_TOKENS = 11, 12, 13
    given = []

    async def note(*_: Any, limits: Limits) -> AsyncGenerator[Part, None]:
        given.append(limits)
        yield Finished("", None)

    answer(note)
    async with at_work():
        await reached(await ask(cast), RunState.COMPLETED)

    assert given == [Limits(seconds=11, characters=12, tokens=13)]


async def test_leases_are_kept_while_all_threads_wait_for_locks(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 0.05)
    answer(never)
    let_go = threading.Event()
    async with at_work():
        run = await reached(await ask(cast), RunState.RUNNING)
        waiting = [asyncio.create_task(in_thread(RUNS, let_go.wait, DEADLINE)) for _ in range(50)]
        assert run.lease_until is not None
        try:
            later = Run.objects.filter(pk=run.pk, lease_until__gt=run.lease_until + ONE_SECOND)
            await eventually(later.aexists)
        finally:
            let_go.set()
            await asyncio.wait(waiting)


async def test_a_worker_that_has_slept_does_not_take_its_own_living_runs_for_dead(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 10 * DEADLINE)  # the sweep is first to wake up
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    answer(never)
    swept = asyncio.Event()
    loop, sweep = asyncio.get_running_loop(), leases.reap

    def note(*args: Any) -> None:
        ran_out = Run.objects.filter(lease_until__lt=timezone.now()).exists()
        sweep(*args)
        if ran_out:
            loop.call_soon_threadsafe(swept.set)

    monkeypatch.setattr(leases, "reap", note)
    async with at_work():
        run = await reached(await ask(cast), RunState.RUNNING)
        await Run.objects.filter(pk=run.pk).aupdate(lease_until=timezone.now() - ONE_SECOND)
        async with asyncio.timeout(DEADLINE):
            await swept.wait()

        run = await reload(run.pk)
        assert (run.state, run.attempt) == (RunState.RUNNING, 1)


async def test_an_attempt_that_was_taken_away_ends_when_the_same_worker_begins_the_next(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 10 * DEADLINE)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    began: list[int] = []
    ended = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        began.append(len(began))
        try:
            await asyncio.Event().wait()
            yield Text("never")
        finally:
            ended.set()

    answer(endless)
    async with at_work():
        run = await reached(await ask(cast), RunState.RUNNING)
        taken = {"state": RunState.QUEUED, "lease_owner": "", "lease_until": None}
        await Run.objects.filter(pk=run.pk).aupdate(**taken)
        async with asyncio.timeout(DEADLINE):
            await ended.wait()

        assert (await reload(run.pk)).attempt == 2


async def test_the_end_is_written_when_the_database_is_back(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RETRY_SECONDS", 0.01)
    answer(at_once)
    refused = iter(range(5))
    complete = lifecycle.complete

    def away(*args: Any) -> None:
        if next(refused, None) is not None:
            raise OperationalError
        complete(*args)

    monkeypatch.setattr(lifecycle, "complete", away)
    async with at_work():
        run = await reached(await ask(cast), RunState.COMPLETED)

    assert (run.attempt, next(refused, None)) == (1, None)


@pytest.mark.parametrize("error", [DataError, OverflowError])
async def test_an_end_that_the_database_refuses_is_an_end_with_a_reason(
    cast: Cast,
    answer: Callable[[Answer], None],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    answer(at_once)
    asked = []

    def refuse(*args: Any) -> None:
        asked.append(args)
        raise error

    monkeypatch.setattr(lifecycle, "complete", refuse)
    async with at_work():
        run = await reached(await ask(cast), RunState.FAILED)

    assert run.answer is not None
    assert (run.error_code, run.attempt, run.answer.text) == ("internal", 1, "all of it")
    assert len(asked) == 1


async def test_a_run_whose_task_has_crashed_is_taken_up_when_its_lease_ends(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LEASE", timedelta(seconds=scaled(1)))
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.1)
    answer(at_once)
    crashes = iter(range(1))
    say = runner._stream_answer

    async def crash_once(job: Job, deltas: Deltas) -> str:
        if next(crashes, None) is not None:
            raise ZeroDivisionError
        return await say(job, deltas)

    monkeypatch.setattr(runner, "_stream_answer", crash_once)
    async with at_work():
        run = await reached(await ask(cast), RunState.COMPLETED)

    assert run.attempt == 2


def take(cast: Cast, owner: str) -> Job:
    taken = lifecycle.claim_and_start(owner)
    assert taken is not None
    assert taken[1] is not None
    return taken[1]


def asked_and_taken(cast: Cast, owner: str) -> Job:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="hello")
    return take(cast, owner)


def take_over(cast: Cast, job: Job) -> Job:
    """Let a run's lease end and have another worker take it up."""
    Run.objects.filter(pk=job.run).update(lease_until=timezone.now() - timedelta(seconds=1))
    leases.reap()
    return take(cast, "successor")


async def test_a_zombie_says_nothing_into_its_successors_answer(
    cast: Cast, published: list[Envelope]
) -> None:
    job = await sync_to_async(asked_and_taken)(cast, "zombie")
    zombie = Deltas(job, lease_is_valid)
    await zombie.add("one ")
    after = await sync_to_async(take_over)(cast, job)

    await zombie.add("two ")
    await zombie.close()
    successor = Deltas(after, lease_is_valid)
    await successor.add("anew")
    await zombie.add("three ")
    await zombie.close()

    deltas = [told for told in published if isinstance(told, Delta)]
    assert [(delta.attempt, delta.seq) for delta in deltas] == [(1, 0), (2, 0)]
    held = await delta_store().read(after.message, 2)
    assert held is not None
    assert held.deltas == ["anew"]


async def test_a_worker_that_slept_through_its_lease_asks_before_it_says_more(
    cast: Cast, published: list[Envelope], answer: Callable[[Answer], None]
) -> None:
    """With Redis away nothing else would stop it."""
    said, woken = asyncio.Event(), asyncio.Event()

    async def sleeper(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        yield Text("before ")
        said.set()
        await woken.wait()
        yield Text("after")

    answer(sleeper)
    async with at_work() as worker:
        run_id = await ask(cast)
        await said.wait()
        await Run.objects.filter(pk=run_id).aupdate(lease_owner="successor")
        worker._leases[run_id] = 0.0
        woken.set()
        await asyncio.wait(worker._tasks.values(), timeout=DEADLINE)

    assert len([told for told in published if isinstance(told, Delta)]) == 1
    assert (await reload(run_id)).state == RunState.RUNNING
    assert not await Message.objects.filter(text__contains="after").aexists()


@pytest.mark.parametrize("turns", range(5))
async def test_told_to_stop_just_when_it_is_rung_for_it_stops(turns: int) -> None:
    """`asyncio.wait_for` of Python 3.11 would forget the one for the other."""
    rung = asyncio.Event()
    serving = asyncio.create_task(runner._repeat(nothing, DEADLINE, rung))
    await asyncio.sleep(0.01)

    rung.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait([serving], timeout=DEADLINE)

    assert serving.cancelled()


async def nothing() -> None:
    """Nothing to do."""
