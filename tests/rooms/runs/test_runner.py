"""A runner that drains, is suspended, fails, or loses its database."""

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
from maru.config.postgres import STALLED_MILLISECONDS
from rooms import services
from rooms.executors import RUNS, in_thread
from rooms.fanout import publisher
from rooms.fanout.publisher import Delta, Envelope
from rooms.models import Message, Run, RunState, Worker
from rooms.runs import claims, leases, lifecycle, queue, runner
from rooms.runs.asking import Parts
from rooms.runs.crews import trees
from rooms.runs.crews.trees import NOTHING_SPENT, Spent
from rooms.runs.delta_store import delta_store
from rooms.runs.deltas import Deltas
from rooms.runs.lifecycle import Job
from rooms.runs.runner import Runner
from rooms.runs.stopwatch import Stopwatch
from tests.deadlines import DEADLINE, scaled
from tests.rooms.claiming import claim_and_start, claim_run
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import lease_is_valid

pytestmark = pytest.mark.django_db(transaction=True)

Answer = Callable[..., AsyncGenerator[Part, None]]
ONE_SECOND = timedelta(seconds=1)


async def answer_at_once(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
    yield Text("the whole answer")
    yield Finished("the whole answer", None)


async def hang(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
    yield Text("so far")
    await asyncio.Event().wait()


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Return a function that replaces `engine.answer`, which has tests of its own."""
    return lambda fake: monkeypatch.setattr(engine, "answer", fake)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Envelope]:
    envelopes: list[Envelope] = []
    monkeypatch.setattr(publisher, "publish", envelopes.append)
    return envelopes


async def ask(cast: Cast) -> UUID:
    post = sync_to_async(services.post_message)
    return (await post(user=cast.member, room_id=cast.room.pk, text="hello")).runs[0]


async def reload(run_id: UUID) -> Run:
    return await Run.objects.select_related("answer").aget(pk=run_id)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll until the condition is true; fail after DEADLINE seconds."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110  # a database has no event to wait for
            await asyncio.sleep(0.01)


async def run_in_state(run_id: UUID, state: str) -> Run:
    """Wait until the run is in this state and return it."""
    await eventually(Run.objects.filter(pk=run_id, state=state).aexists)
    return await reload(run_id)


@asynccontextmanager
async def running_worker(
    concurrency: int = 3, *, drain_seconds: float = 0
) -> AsyncIterator[Runner]:
    """Serve the queue with a runner, which is drained on exit, as by SIGTERM."""
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


def test_lease_outlasts_three_heartbeats_and_a_stalled_transaction() -> None:
    lease = queue.LEASE.total_seconds()

    assert lease > 3 * runner.HEARTBEAT_SECONDS
    assert lease > STALLED_MILLISECONDS / 1_000


async def test_drain_queues_a_run_again_that_does_not_end_in_time(
    cast: Cast, answer: Callable[[Answer], None]
) -> None:
    answer(hang)
    async with running_worker():
        run_id = await ask(cast)
        await run_in_state(run_id, RunState.RUNNING)

    assert (await reload(run_id)).state == RunState.QUEUED
    assert await sync_to_async(claim_run)("next") == run_id


async def test_drain_lets_an_answer_end_in_time(
    cast: Cast, answer: Callable[[Answer], None]
) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        began.set()
        await may_end.wait()
        yield Text("in the end")
        yield Finished("in the end", None)

    answer(slow)
    async with running_worker(drain_seconds=DEADLINE):
        run_id = await ask(cast)
        await began.wait()
        asyncio.get_running_loop().call_later(0.1, may_end.set)

    run = await reload(run_id)
    assert run.answer is not None
    assert (run.state, run.answer.text) == (RunState.COMPLETED, "in the end")


async def test_drain_queues_the_run_of_a_claim_in_progress_again(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(hang)
    claiming, claimed = asyncio.Event(), threading.Event()
    loop, claim_runs = asyncio.get_running_loop(), claims.claim

    def slow_claim(*args: Any, **kwargs: Any) -> Any:
        claimed_runs = claim_runs(*args, **kwargs)
        if claimed_runs:
            loop.call_soon_threadsafe(claiming.set)
            time.sleep(0.5)  # a busy database may take this long to answer
            claimed.set()
        return claimed_runs

    monkeypatch.setattr(claims, "claim", slow_claim)
    async with running_worker():
        run_id = await ask(cast)
        await claiming.wait()
    assert await asyncio.to_thread(claimed.wait, DEADLINE)

    assert (await reload(run_id)).state == RunState.QUEUED


async def test_worker_reports_itself_and_is_removed_when_drained(cast: Cast) -> None:
    async with running_worker(concurrency=7):
        await eventually(Worker.objects.aexists)
        worker = await Worker.objects.aget()
        assert (worker.concurrency, worker.running) == (7, 0)

    assert await Worker.objects.acount() == 0


async def test_cancel_stops_the_answer_before_the_next_heartbeat(
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
    async with running_worker():
        run_id = await ask(cast)
        await began.wait()
        await sync_to_async(services.cancel_run)(user=cast.member, run_id=run_id)
        async with asyncio.timeout(DEADLINE):
            await ended.wait()


async def test_stop_during_the_start_is_not_left_to_the_next_heartbeat(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renewal that the stop causes finds no task that it could cancel."""
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 10 * DEADLINE)
    ended = asyncio.Event()
    start = lifecycle.start

    async def endless(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        try:
            await asyncio.Event().wait()
            yield Text("never")
        finally:
            ended.set()

    def start_and_stop(*args: Any) -> list[Job]:
        jobs = start(*args)
        services.cancel_run(user=cast.member, run_id=jobs[0].run)
        for _ in range(200):
            if worker._stopped_early:
                break
            time.sleep(0.01)
        return jobs

    monkeypatch.setattr(lifecycle, "start", start_and_stop)
    answer(endless)
    async with running_worker() as worker:
        await ask(cast)
        async with asyncio.timeout(DEADLINE):
            await ended.wait()


async def test_runner_ends_an_answer_that_the_engine_does_not_end(
    cast: Cast,
    answer: Callable[[Answer], None],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.RUN_SECONDS = scaled(0.5)
    monkeypatch.setattr(runner, "TIMEOUT_GRACE_SECONDS", scaled(0.1))
    answer(hang)

    async with running_worker():
        run = await run_in_state(await ask(cast), RunState.FAILED)

    assert run.answer is not None
    assert (run.error_code, run.answer.text) == ("timeout", "so far")


@pytest.mark.parametrize(
    ("spent", "limits"),
    [
        (NOTHING_SPENT, Limits(seconds=11, characters=12, tokens=13)),
        (Spent(tokens=4, seconds=3, share=2), Limits(seconds=8, characters=12, tokens=4)),
        (Spent(tokens=90, seconds=90), Limits(seconds=1, characters=12, tokens=1)),
    ],
)
async def test_limits_without_what_the_tree_has_used_are_passed_to_the_engine(
    cast: Cast,
    answer: Callable[[Answer], None],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    spent: Spent,
    limits: Limits,
) -> None:
    settings.RUN_SECONDS, settings.RUN_CHARACTERS, settings.RUN_TOKENS = 11, 12, 13
    monkeypatch.setattr(trees, "spent", lambda _run: spent)
    given = []

    async def note(*_: Any, limits: Limits, **__: Any) -> AsyncGenerator[Part, None]:
        given.append(limits)
        yield Finished("", None)

    answer(note)
    async with running_worker():
        await run_in_state(await ask(cast), RunState.COMPLETED)

    assert given == [limits]


async def test_leases_are_renewed_while_all_threads_of_runs_are_busy(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 0.05)
    answer(hang)
    release = threading.Event()
    async with running_worker():
        run = await run_in_state(await ask(cast), RunState.RUNNING)
        waiting = [asyncio.create_task(in_thread(RUNS, release.wait)) for _ in range(50)]
        assert run.lease_until is not None
        try:
            later = Run.objects.filter(pk=run.pk, lease_until__gt=run.lease_until + ONE_SECOND)
            await eventually(later.aexists)
        finally:
            release.set()
            await asyncio.wait(waiting)


async def test_reap_ignores_the_expired_leases_of_its_own_worker(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 10 * DEADLINE)  # the reap is first
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    answer(hang)
    reaped = asyncio.Event()
    loop, reap = asyncio.get_running_loop(), leases.reap

    def note(*args: Any) -> None:
        has_expired = Run.objects.filter(lease_until__lt=timezone.now()).exists()
        reap(*args)
        if has_expired:
            loop.call_soon_threadsafe(reaped.set)

    monkeypatch.setattr(leases, "reap", note)
    async with running_worker():
        run = await run_in_state(await ask(cast), RunState.RUNNING)
        await Run.objects.filter(pk=run.pk).aupdate(lease_until=timezone.now() - ONE_SECOND)
        async with asyncio.timeout(DEADLINE):
            await reaped.wait()

        run = await reload(run.pk)
        assert (run.state, run.attempt) == (RunState.RUNNING, 1)


async def test_next_attempt_cancels_the_older_one_of_the_same_worker(
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
    async with running_worker():
        run = await run_in_state(await ask(cast), RunState.RUNNING)
        requeued = {"state": RunState.QUEUED, "lease_owner": "", "lease_until": None}
        await Run.objects.filter(pk=run.pk).aupdate(**requeued)
        async with asyncio.timeout(DEADLINE):
            await ended.wait()

        assert (await reload(run.pk)).attempt == 2


async def test_end_is_stored_when_the_database_is_available_again(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RETRY_SECONDS", 0.01)
    answer(answer_at_once)
    failures = iter(range(5))
    complete = lifecycle.complete

    def unavailable(*args: Any) -> None:
        if next(failures, None) is not None:
            raise OperationalError
        complete(*args)

    monkeypatch.setattr(lifecycle, "complete", unavailable)
    async with running_worker():
        run = await run_in_state(await ask(cast), RunState.COMPLETED)

    assert (run.attempt, next(failures, None)) == (1, None)


@pytest.mark.parametrize("error", [DataError, OverflowError])
async def test_end_that_the_database_refuses_becomes_a_failure(
    cast: Cast,
    answer: Callable[[Answer], None],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    answer(answer_at_once)
    calls = []

    def refuse(*args: Any) -> None:
        calls.append(args)
        raise error

    monkeypatch.setattr(lifecycle, "complete", refuse)
    async with running_worker():
        run = await run_in_state(await ask(cast), RunState.FAILED)

    assert run.answer is not None
    assert (run.error_code, run.attempt, run.answer.text) == ("internal", 1, "the whole answer")
    assert len(calls) == 1


async def test_run_of_a_crashed_task_is_claimed_again_when_its_lease_expires(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LEASE", timedelta(seconds=scaled(1)))
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.1)
    answer(answer_at_once)
    crashes = iter(range(1))
    stream_answer = runner._stream_answer

    async def crash_once(job: Job, parts: Parts, deltas: Deltas, stopwatch: Stopwatch) -> None:
        if next(crashes, None) is not None:
            raise ZeroDivisionError
        await stream_answer(job, parts, deltas, stopwatch)

    monkeypatch.setattr(runner, "_stream_answer", crash_once)
    async with running_worker():
        run = await run_in_state(await ask(cast), RunState.COMPLETED)

    assert run.attempt == 2


async def test_answer_is_closed_although_its_owner_is_cancelled_while_it_closes(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped run first finds its stream of deltas closed, and then gets the notification."""
    closing, may_close, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def parts_of_answer(*_args: Any, **_options: Any) -> AsyncGenerator[Part, None]:
        try:
            yield Text("one ")
            await asyncio.Event().wait()
        finally:
            closing.set()
            await may_close.wait()
            closed.set()

    monkeypatch.setattr(engine, "answer", parts_of_answer)
    parts = Parts(await sync_to_async(ask_and_claim)(cast, "worker"))
    await anext(parts)
    owner = asyncio.create_task(parts.aclose())
    await closing.wait()
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    may_close.set()

    await asyncio.wait_for(closed.wait(), DEADLINE)


def claim(cast: Cast, owner: str) -> Job:
    claimed = claim_and_start(owner)
    assert claimed is not None
    assert claimed[1] is not None
    return claimed[1]


def ask_and_claim(cast: Cast, owner: str) -> Job:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="hello")
    return claim(cast, owner)


def take_over(cast: Cast, job: Job) -> Job:
    """Expire the lease of a run and claim the run for another worker."""
    Run.objects.filter(pk=job.run).update(lease_until=timezone.now() - timedelta(seconds=1))
    leases.reap()
    return claim(cast, "successor")


async def test_worker_with_a_lost_lease_publishes_nothing(
    cast: Cast, published: list[Envelope]
) -> None:
    job = await sync_to_async(ask_and_claim)(cast, "zombie")
    stale_deltas = Deltas(job, lease_is_valid)
    await stale_deltas.add("one ")
    after = await sync_to_async(take_over)(cast, job)

    await stale_deltas.add("two ")
    await stale_deltas.close()
    successor = Deltas(after, lease_is_valid)
    await successor.add("new")
    await stale_deltas.add("three ")
    await stale_deltas.close()

    deltas = [envelope for envelope in published if isinstance(envelope, Delta)]
    assert [(delta.attempt, delta.seq) for delta in deltas] == [(1, 0), (2, 0)]
    stored = await delta_store().read(after.message, 2)
    assert stored is not None
    assert stored.deltas == ["new"]


async def test_suspended_worker_renews_its_lease_before_it_publishes(
    cast: Cast, published: list[Envelope], answer: Callable[[Answer], None]
) -> None:
    """If Redis is unavailable, no closed delta stream stops a worker with an expired lease."""
    published_first, resumed = asyncio.Event(), asyncio.Event()

    async def suspended(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        yield Text("before ")
        published_first.set()
        await resumed.wait()
        yield Text("after")

    answer(suspended)
    async with running_worker() as worker:
        run_id = await ask(cast)
        await published_first.wait()
        await Run.objects.filter(pk=run_id).aupdate(lease_owner="successor")
        worker._leases[run_id] = 0.0
        resumed.set()
        await asyncio.wait(worker._tasks.values(), timeout=DEADLINE)

    assert len([envelope for envelope in published if isinstance(envelope, Delta)]) == 1
    assert (await reload(run_id)).state == RunState.RUNNING
    assert not await Message.objects.filter(text__contains="after").aexists()


async def test_answer_that_has_lost_its_lease_is_cancelled_only_once(
    cast: Cast, answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second cancellation would interrupt the worker while it stores the published text."""
    published_first, restoring, restored = asyncio.Event(), asyncio.Event(), asyncio.Event()
    continue_restoring = asyncio.Event()

    async def stopped(*_: Any, **__: Any) -> AsyncGenerator[Part, None]:
        yield Text("shown")
        published_first.set()
        await asyncio.Event().wait()

    async def restore(_job: Job, deltas: Deltas) -> None:
        restoring.set()
        await continue_restoring.wait()
        restored.set()

    monkeypatch.setattr(runner, "_restore_text", restore)
    answer(stopped)
    async with running_worker() as worker:
        run_id = await ask(cast)
        await published_first.wait()
        await Run.objects.filter(pk=run_id).aupdate(lease_owner="successor")
        await worker._renew_leases()
        await restoring.wait()
        await worker._renew_leases()
        continue_restoring.set()
        await asyncio.wait(worker._tasks.values(), timeout=DEADLINE)

    assert restored.is_set()


@pytest.mark.parametrize("was_starting", [False, True])
async def test_late_renewal_cancels_no_later_attempt(
    cast: Cast,
    answer: Callable[[Answer], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    was_starting: bool,
) -> None:
    """A run may be queued and started again before the response to a renewal is there."""
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 10 * DEADLINE)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    may_start, may_respond = threading.Event(), threading.Event()
    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    start, renew = lifecycle.start, leases.renew

    def start_later(*args: Any) -> list[Job]:
        may_start.wait(DEADLINE)
        return start(*args)

    def respond_late(owner: str, run_ids: Any) -> set[UUID]:
        if may_respond.is_set():
            return renew(owner, run_ids)
        loop.call_soon_threadsafe(looked.set)
        may_respond.wait(DEADLINE)
        return set()  # as the database was before the later attempt

    async def is_starting() -> bool:
        return run_id in worker._starting

    async def is_running() -> bool:
        return worker._tasks.get(run_id, first) is not first

    monkeypatch.setattr(lifecycle, "start", start_later)
    monkeypatch.setattr(leases, "renew", respond_late)
    answer(hang)
    first: asyncio.Task[None] | None = None
    async with running_worker() as worker:
        run_id = await ask(cast)
        if was_starting:
            await eventually(is_starting)
        else:
            may_start.set()
            await eventually(is_running)
        renewing = asyncio.create_task(worker._renew_leases())
        await looked.wait()
        may_start.set()
        await eventually(is_running)
        first = worker._tasks[run_id]
        requeued = {"state": RunState.QUEUED, "lease_owner": "", "lease_until": None}
        await Run.objects.filter(pk=run_id).aupdate(**requeued)
        await eventually(is_running)
        later = worker._tasks[run_id]
        may_respond.set()
        await renewing

        assert later.cancelling() == 0
        assert await worker._owns(run_id)


@pytest.mark.parametrize("turns", range(5))
async def test_cancellation_that_arrives_with_a_notification_is_not_lost(turns: int) -> None:
    """`asyncio.wait_for` of Python 3.11 can lose the cancellation."""
    wake = asyncio.Event()
    serving = asyncio.create_task(runner._repeat(do_nothing, DEADLINE, wake))
    await asyncio.sleep(0.01)

    wake.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait([serving], timeout=DEADLINE)

    assert serving.cancelled()


async def do_nothing() -> None:
    """Do nothing."""
