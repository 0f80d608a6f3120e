"""Asks the providers of started runs while the start is being stored, which saves its time."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Self
from uuid import UUID

import structlog
from django.conf import settings

from agents import engine
from agents.engine_types import Limits, Part
from agents.tool_types import Acting, ToolFunction
from rooms.executors import RUNS, in_thread
from rooms.runs import lifecycle
from rooms.runs.claims import Claim
from rooms.runs.crews import led
from rooms.runs.lifecycle import Job
from rooms.runs.prompts.upkeep import upkeep
from rooms.runs.steps.ask_people import ask_people
from rooms.runs.steps.journal import RunJournal
from rooms.runs.steps.room_tools import room_functions


async def start_and_ask(owner: str, claims: Sequence[Claim]) -> list[tuple[Job, "Parts"]]:
    """Start claimed runs of one room; return their jobs, each with the parts of its answer.

    Raises what `lifecycle.start` raises; the requests to the providers are closed then.
    """
    loop = asyncio.get_running_loop()
    asked: dict[UUID, Parts] = {}

    def begin(job: Job) -> None:
        asked[job.run] = Parts(job)

    def ask(job: Job) -> None:
        # The loop runs these callbacks in order, so the return of `start` comes last.
        loop.call_soon_threadsafe(begin, job)

    try:
        jobs = await in_thread(RUNS, lifecycle.start, owner, claims, ask)
    except BaseException:
        await asyncio.gather(*(parts.aclose() for parts in asked.values()))
        raise
    upkeep.note(jobs)
    return [(job, asked[job.run]) for job in jobs]


class Parts:
    """The parts of an answer. The provider is asked at once; call it on the event loop.

    The owner reads the parts or closes them.
    """

    def __init__(self, job: Job) -> None:
        limits = Limits(
            seconds=max(1, settings.RUN_SECONDS - job.spent.seconds),
            characters=settings.RUN_CHARACTERS,
            tokens=max(1, (settings.RUN_TOKENS - job.spent.tokens) // job.spent.share),
        )
        functions: dict[str, ToolFunction] = {
            "ask_people": partial(ask_people, job),
            **led.functions(job.run, job.owner, job.attempt),
            **room_functions(job),
        }
        acting = Acting(journal=RunJournal(job), past=job.past, functions=functions)
        self._parts = engine.answer(
            job.spec, job.turns, limits=limits, room=job.surroundings, acting=acting
        )
        self._is_read = False
        self._closing: asyncio.Task[None] | None = None
        with structlog.contextvars.bound_contextvars(run=str(job.run)):
            self._first = asyncio.create_task(self._read_first())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        """Return the next part; `Finished` is the last. Raises AnswerFailed."""
        if not self._is_read:
            self._is_read = True
            return await self._first
        return await anext(self._parts)

    def close_soon(self) -> asyncio.Task[None]:
        """Start to end the answer; the request is closed, if it is open. Return the task."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        return self._closing

    async def aclose(self) -> None:
        """End the answer, also if the caller is cancelled meanwhile.

        A stop often cancels the caller here: it has lost the lease and then gets the notification.
        """
        await asyncio.shield(self.close_soon())

    async def _close(self) -> None:
        self._first.cancel()
        await asyncio.wait([self._first])
        if not self._first.cancelled():
            self._first.exception()  # retrieved, or asyncio logs it when the task is collected
        await self._parts.aclose()

    async def _read_first(self) -> Part:
        return await anext(self._parts)
