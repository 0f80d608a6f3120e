"""Runs answers: takes them from the queue, streams them into their rooms, ends them.

One runner to a process: an agents worker, or the one process of the embedded profile.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Final
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.utils import translation
from django.utils.translation import gettext as _

from agents import engine
from agents.answers import AnswerFailed, Finished, Limits, Text, ToolFinished, ToolStarted
from rooms import broadcast, events, metrics, runs
from rooms.deltas import Deltas
from rooms.replay import replay
from rooms.runs import Job, LeaseLost
from rooms.threads import RUNS, in_thread
from rooms.wake import bell

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0


class Runner:
    """Claims one run at a time into a free slot and keeps the leases of those that it has."""

    def __init__(self, concurrency: int) -> None:
        self.owner = f"{socket.gethostname()[:32]}:{os.getpid()}:{uuid4().hex[:8]}"
        self._concurrency = concurrency
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._claiming = True
        self._swept = float("-inf")

    async def run(self) -> None:
        """Serve the queue until cancelled. A database that is away is waited for."""
        self._woken = bell.hang()
        try:
            while True:
                try:
                    await self._look()
                except DatabaseError as error:
                    log.warning("runner.database_away", error=type(error).__name__)
                    await asyncio.sleep(RETRY_SECONDS)
                except Exception:  # nobody would answer any more if the look ended here
                    log.exception("runner.look_failed")
                    await asyncio.sleep(RETRY_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)
                self._woken.clear()
        finally:
            bell.take_down()

    async def drain(self, seconds: float) -> None:
        """Claim nothing more, let answers end for a while, and hand the rest back."""
        self._claiming = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until_idle()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await in_thread(RUNS, runs.release, self.owner)

    async def _until_idle(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=LOOK_SECONDS)
            await self._keep_leases()

    async def _look(self) -> None:
        await self._keep_leases()
        await self._sweep()
        while self._claiming and len(self._tasks) < self._concurrency:
            taken = await in_thread(RUNS, runs.take, self.owner)
            if taken is None:
                return
            run_id, job = taken
            if job is None:
                continue
            task = asyncio.create_task(self._answer(job), name=f"run {run_id}")
            self._tasks[run_id] = task
            metrics.RUNS_OPEN.set(len(self._tasks))
            task.add_done_callback(partial(self._ended, run_id))

    async def _sweep(self) -> None:
        """Take runs from the dead, now and then: a ring is for those who wait."""
        now = asyncio.get_running_loop().time()
        if now - self._swept >= LOOK_SECONDS:
            self._swept = now
            await in_thread(RUNS, runs.sweep)

    def _ended(self, run_id: UUID, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run_id) is task:  # or we have claimed the same run again meanwhile
            del self._tasks[run_id]
        metrics.RUNS_OPEN.set(len(self._tasks))
        self._woken.set()  # the slot is free

    async def _keep_leases(self) -> None:
        """Renew what is ours, and end at once what was stopped or taken over."""
        mine = list(self._tasks)
        if not mine:
            return
        kept = await in_thread(RUNS, runs.keep_leases, self.owner, mine)
        for run_id in mine:
            if run_id not in kept and run_id in self._tasks:
                self._tasks[run_id].cancel()

    async def _answer(self, job: Job) -> None:
        structlog.contextvars.bind_contextvars(run=str(job.run))
        try:
            await self._stream(job)
        except LeaseLost:
            log.info("run.lease_lost")
        except Exception:  # the lease runs out, and the sweep ends what could not be ended here
            log.exception("run.crashed")

    async def _stream(self, job: Job) -> None:
        deltas = Deltas(job)
        try:
            with translation.override(job.language):
                outcome = await _say(job, deltas)
            metrics.RUNS_ENDED.labels(outcome).inc()
        finally:
            deltas.discard()
            await replay().forget(job.message, job.attempt)


async def _say(job: Job, deltas: Deltas) -> str:
    """Stream an answer into its room and end its run; return how it ended."""
    try:
        finished = await _forward(job, deltas)
    except AnswerFailed as failed:
        failure = failed
        log.info("run.failed", code=failure.code)
    except Exception:
        log.exception("run.internal")
        detail = _("Something went wrong on our side. Ask again; the log has the cause.")
        failure = AnswerFailed("internal", detail)
    else:
        await deltas.close()
        await _insist(runs.complete, job, finished.text, finished.usage)
        return "completed"
    await deltas.close()
    await _insist(runs.fail, job, failure, deltas.text)
    return failure.code


async def _forward(job: Job, deltas: Deltas) -> Finished:
    """Pass on what the persona says and does, as it does it; return how it ended."""
    finished = Finished(text="", usage=None)
    limits = Limits(seconds=settings.RUN_SECONDS, characters=settings.RUN_CHARACTERS)
    async with aclosing(engine.answer(job.spec, job.turns, limits=limits)) as parts:
        async for part in parts:
            match part:
                case Text(text=text):
                    await deltas.add(text)
                case ToolStarted() | ToolFinished():
                    await deltas.flush()
                    broadcast.publish(_notice(job, part))
                case Finished():
                    finished = part
    return finished


def _notice(job: Job, part: ToolStarted | ToolFinished) -> broadcast.Notice:
    kind = events.ToolStarted if isinstance(part, ToolStarted) else events.ToolFinished
    event = kind(
        room=job.room,
        run=job.run,
        call=part.call,
        tool=part.tool,
        summary=part.summary,
        ms=getattr(part, "ms", None),
    )
    return broadcast.Notice(room=job.room, frame=events.encode(event))


async def _insist(end: Callable[..., None], *args: object) -> None:
    """End a run in the database; while that is away, try again: the answer must not be lost."""
    while True:
        try:
            return await in_thread(RUNS, end, *args)
        except DatabaseError as error:
            log.warning("runner.database_away", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
