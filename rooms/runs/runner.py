"""Runs answers: takes them from the queue, streams them into their rooms, ends them.

One runner to a process: an agents worker, or the one process of the embedded profile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Final
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import translation
from django.utils.translation import gettext as _

from agents import engine
from agents.engine_types import AnswerFailed, Finished, Limits, Text, ToolFinished, ToolStarted
from rooms import metrics
from rooms.executors import HEARTBEATS, RUNS, in_thread
from rooms.fanout import publisher
from rooms.protocol import events
from rooms.runs import lifecycle, queue, workers
from rooms.runs.delta_store import replay
from rooms.runs.deltas import Deltas
from rooms.runs.lifecycle import Job, LeaseLost
from rooms.runs.notifications import bell
from rooms.runs.queue import LEASE

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
BEAT_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0
PLACES_SECONDS: Final = 1.0
OVERDUE_SECONDS: Final = 10.0
"""So long after its limit an answer is ended from outside: the engine has failed to end it."""


class Runner:
    """Claims one run at a time into a free slot and keeps the leases of those that it has."""

    def __init__(self, concurrency: int) -> None:
        self.name = f"worker-{uuid4().hex[:12]}"
        self._concurrency = concurrency
        self._spare = max(1, concurrency // 5)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._leases: dict[UUID, float] = {}
        self._woken = asyncio.Event()
        self._claiming = True
        self._taking: asyncio.Future[tuple[UUID, Job | None] | None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._swept = self._shown = self._told = float("-inf")
        self._moved: set[UUID] = set()

    def begin(self) -> None:
        """Show that this worker lives, from now on, and hear the bell."""
        self._woken = bell.hang()
        self._beating = asyncio.create_task(_again(self._beat, BEAT_SECONDS, bell.stops))

    async def run(self) -> None:
        """Serve the queue until cancelled. A database that is away is waited for."""
        await _again(self._look, LOOK_SECONDS, self._woken)

    async def drain(self, seconds: float) -> None:
        """Claim nothing more, let answers end for a while, and hand the rest back."""
        self._claiming = False
        if self._taking is not None:
            await asyncio.wait([self._taking])
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._retire()

    async def _retire(self) -> None:
        """What could not be handed back is swept when its lease runs out."""
        bell.take_down()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        try:
            await in_thread(RUNS, lifecycle.release, self.name)
            await in_thread(RUNS, workers.retire, self.name)
        except DatabaseError as error:
            log.warning("runner.database_away", error=type(error).__name__)

    # Who is next

    async def _look(self) -> None:
        await self._sweep()
        while self._claiming and len(self._tasks) < self._concurrency + self._spare:
            await self._sweep()  # where somebody always waits, this look may never end
            taken = await self._take()
            if taken is None:
                break
            run_id, job = taken
            if job is not None:
                self._start(run_id, job)
        await self._tell_places()

    async def _take(self) -> tuple[UUID, Job | None] | None:
        """Claim a run. Beyond the bound, only of teams that have none: nobody fills a worker.

        A claim that has begun is ended, whatever happens here: else its run would have an owner
        and nobody who answers.
        """
        asked = asyncio.get_running_loop().time()
        idle_teams_only = len(self._tasks) >= self._concurrency
        self._taking = asyncio.ensure_future(
            in_thread(RUNS, lifecycle.take, self.name, idle_teams_only=idle_teams_only)
        )
        taken = await asyncio.shield(self._taking)
        if taken is not None and taken[1] is not None:
            self._leases[taken[0]] = asked + LEASE.total_seconds()
        return taken

    def _start(self, run_id: UUID, job: Job) -> None:
        self._moved.add(job.team)
        if run_id in self._tasks:  # of an attempt that somebody has taken from us meanwhile
            self._tasks[run_id].cancel()
        task = asyncio.create_task(self._answer(job), name=f"run {run_id}")
        self._tasks[run_id] = task
        metrics.RUNS_OPEN.set(len(self._tasks))
        task.add_done_callback(partial(self._ended, run_id))

    async def _sweep(self) -> None:
        """Take runs from the dead, now and then: a ring is for those who wait."""
        now = asyncio.get_running_loop().time()
        if now - self._swept >= LOOK_SECONDS:
            self._swept = now
            await in_thread(RUNS, lifecycle.sweep, list(self._tasks))

    async def _tell_places(self) -> None:
        """Tell those in line how far they have moved, not at each step: the next look is near."""
        now = asyncio.get_running_loop().time()
        if not self._moved or now - self._told < PLACES_SECONDS:
            return
        self._told = now
        teams, self._moved = self._moved, set()
        for team_id in teams:
            await in_thread(RUNS, queue.tell_places, team_id)

    def _ended(self, run_id: UUID, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run_id) is task:  # or we have claimed the same run again meanwhile
            del self._tasks[run_id]
            self._leases.pop(run_id, None)
        metrics.RUNS_OPEN.set(len(self._tasks))
        self._woken.set()  # the slot is free

    # What is ours

    async def _beat(self) -> None:
        await self._keep_leases()
        now = asyncio.get_running_loop().time()
        if now - self._shown >= workers.SHOWN_SECONDS:
            await in_thread(
                HEARTBEATS, workers.show, self.name, self._concurrency, len(self._tasks)
            )
            self._shown = now

    async def _keep_leases(self) -> None:
        """Renew what is ours, and end at once what was stopped or taken over."""
        mine = list(self._tasks)
        if not mine:
            return
        asked = asyncio.get_running_loop().time()
        kept = await in_thread(HEARTBEATS, lifecycle.keep_leases, self.name, mine)
        for run_id in mine:
            if run_id not in self._tasks:
                continue
            if run_id in kept:
                self._leases[run_id] = asked + LEASE.total_seconds()
            else:
                self._leases.pop(run_id, None)
                self._tasks[run_id].cancel()

    async def _is_ours(self, run_id: UUID) -> bool:
        """Return whether a run's lease is good; a worker that slept through it asks first."""
        loop = asyncio.get_running_loop()
        while run_id in self._leases and self._leases[run_id] < loop.time():
            try:
                await self._keep_leases()
            except DatabaseError:
                await asyncio.sleep(RETRY_SECONDS)
        return run_id in self._leases

    async def _answer(self, job: Job) -> None:
        structlog.contextvars.bind_contextvars(run=str(job.run))
        try:
            await self._stream(job)
        except LeaseLost:
            log.info("run.lease_lost")
        except Exception:  # the lease runs out, and the sweep ends what could not be ended here
            log.exception("run.crashed")

    async def _stream(self, job: Job) -> None:
        deltas = Deltas(job, partial(self._is_ours, job.run))
        try:
            with translation.override(job.language):
                outcome = await _say(job, deltas)
            metrics.RUNS_ENDED.labels(outcome).inc()
        finally:
            deltas.discard()
            await replay().forget(job.message, job.attempt)


async def _again(work: Callable[[], Awaitable[None]], seconds: float, rung: asyncio.Event) -> None:
    """Do the work at each ring, and every so many seconds without, until cancelled."""
    while True:
        rung.clear()
        try:
            await work()
        except DatabaseError as error:
            log.warning("runner.database_away", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:  # nobody would answer any more if this ended here
            log.exception("runner.failed")
            await asyncio.sleep(RETRY_SECONDS)
        # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes with the ring.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await rung.wait()


async def _say(job: Job, deltas: Deltas) -> str:
    """Stream an answer into its room and end its run; return how it ended."""
    try:
        finished = await _forward(job, deltas)
        await deltas.close()
        await _insist(lifecycle.complete, job, finished.text, finished.usage)
        return "completed"
    except LeaseLost:
        raise
    except AnswerFailed as failed:
        failure = failed
        log.info("run.failed", code=failure.code)
    except Exception:  # whatever it is, the room is told and the run ends
        log.exception("run.internal")
        detail = _("Something went wrong on our side. Ask again; the log has the cause.")
        failure = AnswerFailed("internal", detail)
    await deltas.close()
    await _insist(lifecycle.fail, job, failure, deltas.text)
    return failure.code


async def _forward(job: Job, deltas: Deltas) -> Finished:
    """Pass on what the persona says and does, as it does it; return how it ended."""
    limits = Limits(
        seconds=settings.RUN_SECONDS,
        characters=settings.RUN_CHARACTERS,
        tokens=settings.RUN_TOKENS,
    )
    try:
        async with asyncio.timeout(limits.seconds + OVERDUE_SECONDS):
            return await _forward_within(limits, job, deltas)
    except TimeoutError:
        log.error("run.overdue")
        raise AnswerFailed("timeout") from None


async def _forward_within(limits: Limits, job: Job, deltas: Deltas) -> Finished:
    finished = Finished(text="", usage=None)
    async with aclosing(engine.answer(job.spec, job.turns, limits=limits)) as parts:
        async for part in parts:
            match part:
                case Text(text=text):
                    await deltas.add(text)
                case ToolStarted() | ToolFinished():
                    await deltas.flush()
                    publisher.publish(_notice(job, part))
                case Finished():
                    finished = part
    return finished


def _notice(job: Job, part: ToolStarted | ToolFinished) -> publisher.Ephemeral:
    kind = events.ToolStarted if isinstance(part, ToolStarted) else events.ToolFinished
    event = kind(
        room=job.room,
        run=job.run,
        call=part.call,
        tool=part.tool,
        summary=part.summary,
        ms=getattr(part, "ms", None),
    )
    return publisher.Ephemeral(room=job.room, frame=events.encode(event))


async def _insist(end: Callable[..., None], *args: object) -> None:
    """End a run in the database; while that is away, try again: the answer must not be lost.

    What the database refuses it would refuse for ever, and is raised.
    """
    while True:
        try:
            return await in_thread(RUNS, end, *args)
        except (OperationalError, InterfaceError) as error:
            log.warning("runner.database_away", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
