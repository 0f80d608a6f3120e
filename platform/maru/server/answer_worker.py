"""Runs answers in a process for as long as a context lasts."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.machinery import ModuleSpec
from threading import get_ident

from django.conf import settings

from agents import engine
from maru.server.lifespan import running
from rooms.runs.runner import Runner

CREWAI = ("crewai_core", "crewai")


@asynccontextmanager
async def answering(drain_seconds: float) -> AsyncIterator[None]:
    """Serve the queue of runs; on the way out, give those that are running a while to end.

    Importing CrewAI takes seconds. It happens in a thread, and runs wait in line meanwhile.
    """
    async with running(_serve(drain_seconds), "answers"):
        yield


async def _serve(drain_seconds: float) -> None:
    runner = Runner(settings.RUN_CONCURRENCY)
    runner.begin()
    try:
        await _warm()
        await runner.run()
    finally:
        await runner.drain(drain_seconds)


async def _warm() -> None:
    """Import CrewAI. Whoever is told to stop meanwhile does not wait for the end of that."""
    finder = _EndOfImports()
    sys.meta_path.insert(0, finder)
    try:
        await engine.warm()
    except asyncio.CancelledError:
        finder.reached = True
        raise
    sys.meta_path.remove(finder)


class _EndOfImports:
    """Once reached, ends the import of CrewAI at the next module that it asks for.

    A thread cannot be ended from outside, and a process waits for its threads.
    """

    reached = False
    _thread: int | None = None

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        """Find nothing: those who come after it in line do."""
        if name in CREWAI:
            self._thread = get_ident()
        if self.reached and get_ident() == self._thread:
            raise SystemExit
        return None
