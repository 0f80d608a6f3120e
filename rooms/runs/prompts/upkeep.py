"""What a worker does about prompts beside its answers: it records them, and writes summaries."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

import structlog
from django.db import Error as DatabaseError
from django.db import IntegrityError

from rooms.executors import RUNS, in_thread, log_database_error
from rooms.runs.lifecycle import Job
from rooms.runs.prompts import recorder, summaries, summarizer

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 30.0
"""How often a worker looks for summaries that another worker has queued and not written."""
RETRY_SECONDS: Final = 1.0
MAX_JOBS: Final = 1_000
"""Prompts that wait to be recorded; while the database is unavailable, older ones are lost."""


class Upkeep:
    """Records the prompts of started runs, and writes summaries one at a time. On the event loop.

    Nothing waits for it, and it is no part of the start of a run.
    """

    def __init__(self) -> None:
        self._name = f"upkeep-{uuid4().hex[:12]}"
        self._jobs: deque[Job] = deque(maxlen=MAX_JOBS)
        self._noted, self._queued = asyncio.Event(), asyncio.Event()

    def note(self, jobs: Sequence[Job]) -> None:
        """Record the prompts of these runs soon; their providers have been asked."""
        self._jobs.extend(jobs)
        self._noted.set()

    async def run(self) -> None:
        """Work until cancelled; what was noted until then is still recorded."""
        self._noted, self._queued = asyncio.Event(), asyncio.Event()
        self._noted.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._record_prompts())
                tasks.create_task(self._write_summaries())
        finally:
            with suppress(Exception):
                await self._record()

    async def _record_prompts(self) -> None:
        while True:
            await self._noted.wait()
            self._noted.clear()
            try:
                await self._record()
            except DatabaseError as error:
                log_database_error(error)
                self._noted.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:  # a prompt that cannot be recorded must not stop the worker
                log.exception("prompt.not_recorded")
                self._jobs.clear()

    async def _record(self) -> None:
        """Record what was noted; it stays noted if this fails or is cancelled."""
        while self._jobs:
            jobs = list(self._jobs)
            self._jobs.clear()
            try:
                await in_thread(RUNS, recorder.record, jobs)
            except IntegrityError as error:  # a run was deleted with its room
                if len(jobs) == 1:
                    log_database_error(error)
                    continue
                for job in jobs:
                    with suppress(IntegrityError):
                        await in_thread(RUNS, recorder.record, [job])
            except BaseException:  # a record that was stored is not stored again
                self._jobs.extendleft(reversed(jobs))
                raise
            if await in_thread(RUNS, summaries.request, jobs):
                self._queued.set()

    async def _write_summaries(self) -> None:
        while True:
            self._queued.clear()
            try:
                while await summarizer.write_next(self._name):
                    pass
            except DatabaseError as error:
                log_database_error(error)
            except Exception:  # answers and records must not end with it
                log.exception("summary.crashed")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._queued.wait()


upkeep = Upkeep()
