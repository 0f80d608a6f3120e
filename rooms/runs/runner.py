"""The runner: claims queued runs, streams their answers into the rooms, and ends the runs.

There is one runner in a process: in an agents worker, or in the one process of the embedded
profile.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict
from functools import partial
from typing import Final
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import Error as DatabaseError

from agents.engine_types import AnswerFailed, Finished, Suspended, Text, ToolFinished, ToolStarted
from rooms import metrics
from rooms.executors import HEARTBEATS, RUNS, in_thread, in_thread_until_stored, log_database_error
from rooms.fanout import publisher
from rooms.protocol import events
from rooms.runs import claims, leases, lifecycle, queue, workers
from rooms.runs.asking import Parts, start_and_ask
from rooms.runs.claims import Claim
from rooms.runs.delta_store import delta_store
from rooms.runs.deltas import Deltas
from rooms.runs.leases import LeaseLost
from rooms.runs.lifecycle import Job
from rooms.runs.notifications import wakeup
from rooms.runs.steps import waiting
from rooms.runs.stopwatch import Stopwatch

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 2.0
HEARTBEAT_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0
SERVING_SECONDS: Final = 10.0
"""A runner that has not polled for this long reports that it does not serve the queue."""
EXPIRE_SECONDS: Final = 30.0
"""How often overdue approvals are looked for: people have hours to decide."""
POSITIONS_SECONDS: Final = 1.0
MAX_STARTING: Final = 8
"""The runs that a worker has claimed and not started yet: enough to keep its threads busy. More
would wait here while other workers have nothing to start."""
TIMEOUT_GRACE_SECONDS: Final = 10.0
"""The runner ends an answer that the engine has not ended this long after its time limit."""


class Runner:
    """Runs up to `concurrency` runs at once and renews their leases. Runs on the event loop.

    A few more runs are allowed (`_spare`), for teams that have no running run, so that one team
    cannot occupy all slots of a worker.
    """

    def __init__(self, concurrency: int) -> None:
        self.name = f"worker-{uuid4().hex[:12]}"
        self._concurrency = concurrency
        metrics.RUN_SLOTS.set(concurrency)
        self._spare = max(1, concurrency // 5)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._leases: dict[UUID, float] = {}
        """When each lease expires, by the clock of the event loop."""
        self._queued = asyncio.Event()
        self._is_claiming = True
        self._claim: asyncio.Future[list[Claim]] | None = None
        self._starting: set[UUID] = set()
        """The claimed runs that are not started yet."""
        self._stopped_early: set[UUID] = set()
        """The claimed runs that a renewal has found ended before they were started."""
        self._starts: set[asyncio.Task[None]] = set()
        self._workers = 1
        self._heartbeats: asyncio.Task[None] | None = None
        self._done_at: defaultdict[str, float] = defaultdict(lambda: float("-inf"))
        """When each periodic work began last."""
        self._polled_at = float("-inf")
        self._moved_teams: set[UUID] = set()

    def start(self) -> None:
        """Start the heartbeats, and receive notifications."""
        log.info("worker.started", worker=self.name, concurrency=self._concurrency)
        wakeup.attach()
        self._queued = wakeup.queued
        self._heartbeats = asyncio.create_task(
            _repeat(self._heartbeat, HEARTBEAT_SECONDS, wakeup.stopped)
        )

    async def run(self) -> None:
        """Serve the queue until cancelled; a database that is unavailable is retried."""
        await _repeat(self._poll, POLL_SECONDS, self._queued)

    @property
    def is_serving(self) -> bool:
        """True if the queue was polled lately. False while loading or draining."""
        since = asyncio.get_running_loop().time() - self._polled_at
        return self._is_claiming and since < SERVING_SECONDS

    async def drain(self, seconds: float) -> None:
        """Stop claiming, wait up to `seconds` for the answers to end, and queue the rest again.

        A run that cannot be queued again here is reaped when its lease expires.
        """
        self._is_claiming = False
        if self._claim is not None:
            await asyncio.wait([self._claim])
        if self._starts:
            await asyncio.wait(self._starts)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        wakeup.detach()
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait([self._heartbeats])
        try:
            await in_thread(RUNS, leases.release, self.name)
            await in_thread(RUNS, workers.remove, self.name)
        except DatabaseError as error:
            log_database_error(error)
        log.info("worker.stopped", worker=self.name)

    # Claims

    async def _poll(self) -> None:
        await self._reap()
        while self._is_claiming and await self._claim_runs():
            self._polled_at = asyncio.get_running_loop().time()
            await self._reap()  # with a queue that never empties, this loop may never end
        self._polled_at = asyncio.get_running_loop().time()
        await self._publish_positions()

    async def _claim_runs(self) -> bool:
        """Claim runs for the free slots and start them; return False if none was claimed.

        A cancellation does not interrupt a claim: the owner of the claimed runs would not answer
        them. `drain` waits for the claim, and queues its runs again.
        """
        busy = len(self._tasks) + len(self._starting)
        idle_teams_only = busy >= self._concurrency
        slots = self._concurrency + (self._spare if idle_teams_only else 0) - busy
        limit = min(slots, MAX_STARTING - len(self._starting))
        if limit <= 0:
            return False
        asked_at = asyncio.get_running_loop().time()
        claim = partial(
            claims.claim, self.name, limit, workers=self._workers, idle_teams_only=idle_teams_only
        )
        self._claim = asyncio.ensure_future(in_thread(RUNS, claim))
        claimed = await asyncio.shield(self._claim)
        by_room: defaultdict[UUID, list[Claim]] = defaultdict(list)
        for each in claimed:
            by_room[each.room].append(each)
        for of_room in by_room.values():
            self._starting.update(each.run for each in of_room)
            starting = asyncio.create_task(self._start_runs(of_room, asked_at))
            self._starts.add(starting)
            starting.add_done_callback(self._starts.discard)
        return bool(claimed)

    async def _start_runs(self, claimed: Sequence[Claim], asked_at: float) -> None:
        """Start claimed runs of one room, and their answers.

        If the start fails, the leases expire, and `leases.reap` queues the runs again.
        """
        started: list[tuple[Job, Parts]] = []
        try:
            started = await start_and_ask(self.name, claimed)
        except DatabaseError as error:
            log_database_error(error)
        except Exception:  # of any kind: no other task waits for this one
            log.exception("runner.start_failed")
        finally:
            if len(self._starting) >= MAX_STARTING:  # the last poll could claim no more
                self._queued.set()
            self._starting.difference_update(each.run for each in claimed)
        # A run may be stopped after its start and before this line: the renewal that its stop has
        # caused found no task to cancel.
        stopped = self._stopped_early.intersection(each.run for each in claimed)
        self._stopped_early -= stopped
        if stopped:
            wakeup.stopped.set()
        for job, parts in started:
            self._leases[job.run] = asked_at + queue.LEASE.total_seconds()
            self._moved_teams.add(job.team)
            if job.run in self._tasks:  # an older attempt, which this worker has lost
                self._tasks[job.run].cancel()
            task = asyncio.create_task(self._answer(job, parts), name=f"run {job.run}")
            self._tasks[job.run] = task
            task.add_done_callback(partial(self._free_slot, job.run, parts))
        metrics.RUNS_OPEN.set(len(self._tasks))

    def _free_slot(self, run_id: UUID, parts: Parts, task: asyncio.Task[None]) -> None:
        parts.close_soon()  # a no-op, unless the task was cancelled before its first step
        if self._tasks.get(run_id) is task:  # False if this worker has claimed the run again
            del self._tasks[run_id]
            self._leases.pop(run_id, None)
        metrics.RUNS_OPEN.set(len(self._tasks))
        self._queued.set()

    def _is_due(self, work: str, seconds: float) -> bool:
        """Return True, at most every `seconds`, however often this is called."""
        now = asyncio.get_running_loop().time()
        is_due = now - self._done_at[work] >= seconds
        if is_due:
            self._done_at[work] = now
        return is_due

    async def _reap(self) -> None:
        """Reap the runs of dead workers, and end overdue approvals."""
        if self._is_due("reap", POLL_SECONDS):
            await in_thread(RUNS, leases.reap, [*self._tasks, *self._starting])
        if self._is_due("expire", EXPIRE_SECONDS):
            await in_thread(RUNS, waiting.expire)

    async def _publish_positions(self) -> None:
        """Publish the positions of the served teams; what is not due is left to the next poll."""
        if not self._moved_teams or not self._is_due("positions", POSITIONS_SECONDS):
            return
        teams, self._moved_teams = self._moved_teams, set()
        for team_id in teams:
            await in_thread(RUNS, queue.publish_positions, team_id)

    # Leases

    async def _heartbeat(self) -> None:
        await self._renew_leases()
        if self._is_due("report", workers.REPORT_SECONDS):
            self._workers = await in_thread(
                HEARTBEATS, workers.report, self.name, self._concurrency, len(self._tasks)
            )

    async def _renew_leases(self) -> None:
        """Renew the leases of this worker, and cancel the answers whose lease is lost."""
        tasks = self._tasks.copy()
        run_ids = [*tasks, *self._starting]
        if not run_ids:
            return
        asked_at = asyncio.get_running_loop().time()
        renewed = await in_thread(HEARTBEATS, leases.renew, self.name, run_ids)
        for run_id in run_ids:
            task = self._tasks.get(run_id)
            if task is None:
                if run_id not in renewed and run_id in self._starting:
                    self._stopped_early.add(run_id)
            elif run_id in renewed:
                self._leases[run_id] = asked_at + queue.LEASE.total_seconds()
            elif task is not tasks.get(run_id):
                # Started since, maybe by a later claim than this response knows.
                wakeup.stopped.set()
            elif self._leases.pop(run_id, None) is not None:
                # Only once: a task that has lost its lease stores the text that it has published.
                task.cancel()

    async def _owns(self, run_id: UUID) -> bool:
        """Return True if this worker holds the lease of a run.

        A lease that has expired, because the process was suspended, is renewed first if it can be.
        """
        loop = asyncio.get_running_loop()
        while run_id in self._leases and self._leases[run_id] < loop.time():
            try:
                await self._renew_leases()
            except DatabaseError:
                await asyncio.sleep(RETRY_SECONDS)
        return run_id in self._leases

    # Answers

    async def _answer(self, job: Job, parts: Parts) -> None:
        structlog.contextvars.bind_contextvars(run=str(job.run))
        log.info("run.claimed", worker=self.name, room=str(job.room), attempt=job.attempt)
        deltas = Deltas(job, partial(self._owns, job.run))
        stopwatch = Stopwatch(job)
        try:
            has_ended = await _stream_answer(job, parts, deltas, stopwatch)
            if has_ended:
                stopwatch.run_ended()
            log.info("run.ended" if has_ended else "run.waiting")
        except LeaseLost:
            log.info("run.lease_lost")
            await _restore_text(job, deltas)
        except asyncio.CancelledError:
            await _restore_text(job, deltas)
            raise
        except Exception:  # the lease expires, and `leases.reap` ends the run
            log.exception("run.crashed")
        finally:
            await deltas.discard()
            await delta_store().expire(job.message, job.attempt)


async def _stream_answer(job: Job, parts: Parts, deltas: Deltas, stopwatch: Stopwatch) -> bool:
    """Stream an answer into its room, and let its run end or wait; return True if it has ended.

    Raises LeaseLost.
    """
    last: Finished | Suspended = Finished(text="", usage=None)
    try:
        async with (
            asyncio.timeout(settings.RUN_SECONDS + TIMEOUT_GRACE_SECONDS),
            aclosing(parts),
        ):
            async for part in parts:
                match part:
                    case Text(text=text):
                        stopwatch.text_received()
                        await deltas.add(text)
                    case ToolStarted() | ToolFinished():
                        await deltas.flush()
                        publisher.publish(_tool_notice(job, part))
                    case Finished() | Suspended():
                        last = part
        await deltas.close()
        has_ended = await _end_attempt(job, last)
    except LeaseLost:
        raise
    except Exception as error:  # every failure ends the run and is shown in the room
        failure = _failure_of(error)
    else:
        return has_ended
    await deltas.close()
    await in_thread_until_stored(RUNS, lifecycle.fail, job, failure, deltas.text)
    return True


async def _end_attempt(job: Job, last: Finished | Suspended) -> bool:
    """Let a run end or wait; return True if it has ended. Raises LeaseLost."""
    if isinstance(last, Suspended):
        await in_thread_until_stored(RUNS, waiting.wait, job, last.text, last.usage)
        return False
    if await in_thread_until_stored(RUNS, lifecycle.complete, job, last.text, last.usage):
        return True
    await in_thread_until_stored(RUNS, waiting.go_on, job, last.text, last.usage)
    return False


async def _restore_text(job: Job, deltas: Deltas) -> None:
    """Store the published text of an answer that another process has stopped, if it was lost."""
    await deltas.discard()
    if not deltas.text:
        return
    try:
        stopped_for = await in_thread(RUNS, lifecycle.seconds_since_stop, job)
        if stopped_for is not None:
            text = deltas.text_until(asyncio.get_running_loop().time() - stopped_for)
            await in_thread(RUNS, lifecycle.restore_text, job, text)
    except DatabaseError as error:  # the answer keeps the text that its end has stored
        log_database_error(error)


def _failure_of(error: Exception) -> AnswerFailed:
    """Log an error and return the failure that the room is shown."""
    if isinstance(error, AnswerFailed):
        log.info("run.failed", code=error.code)
        return error
    if isinstance(error, TimeoutError):
        log.error("run.overdue")
        return AnswerFailed("timeout")
    log.error("run.internal", exc_info=error)
    return AnswerFailed("internal")


def _tool_notice(job: Job, part: ToolStarted | ToolFinished) -> publisher.Ephemeral:
    kind = events.ToolStarted if isinstance(part, ToolStarted) else events.ToolFinished
    event = kind(room=job.room, run=job.run, **asdict(part))
    return publisher.Ephemeral(room=job.room, frame=events.encode(event))


async def _repeat(work: Callable[[], Awaitable[None]], seconds: float, wake: asyncio.Event) -> None:
    """Do the work when `wake` is set, and at least every `seconds`, until cancelled.

    An error of the work is logged, and the work is retried after RETRY_SECONDS.
    """
    while True:
        wake.clear()
        try:
            await work()
        except DatabaseError as error:
            log_database_error(error)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:  # without this loop, no run of this worker would be claimed or renewed
            log.exception("runner.failed")
            await asyncio.sleep(RETRY_SECONDS)
        # Not `wait_for`: before Python 3.12 it can lose a cancellation that arrives together with
        # the event (https://github.com/python/cpython/issues/86296).
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
