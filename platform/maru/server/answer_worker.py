"""Runs the runner of a process while a context is open."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.machinery import ModuleSpec
from threading import get_ident

import structlog
from django.db import DatabaseError

from agents import engine
from maru.config import terminal
from maru.server.lifespan import running
from rooms.executors import RUNS, in_thread
from rooms.runs.prompts.upkeep import upkeep
from rooms.runs.runner import Runner

log = structlog.get_logger(__name__)

CREWAI = ("crewai_core", "crewai")


@asynccontextmanager
async def answering(runner: Runner, drain_seconds: float) -> AsyncIterator[None]:
    """Run answers from the run queue; on exit, drain for up to `drain_seconds` seconds.

    CrewAI is imported in a thread, which takes seconds. Until then, runs stay queued.
    """
    async with running(_serve(runner, drain_seconds), "answers"):
        yield


async def _serve(runner: Runner, drain_seconds: float) -> None:
    runner.start()
    try:
        await _warm()
        await in_thread(RUNS, _register_tools)
        async with running(upkeep.run(), "upkeep of prompts"):
            await runner.run()
    finally:
        await runner.drain(drain_seconds)


def _register_tools() -> None:
    """Write the rows of the installed tools. Answers are given also if that fails."""
    from agents.tools import installed  # noqa: PLC0415 - imports CrewAI

    try:
        for sentence in installed.register():
            terminal.complain(sentence)
    except DatabaseError:
        log.exception("tools.not_registered")


async def _warm() -> None:
    """Import CrewAI; a cancellation aborts the import before the next module."""
    finder = _ImportAborter()
    sys.meta_path.insert(0, finder)
    try:
        await engine.warm()
    except asyncio.CancelledError:
        finder.aborted = True
        raise
    sys.meta_path.remove(finder)


class _ImportAborter:
    """A finder in `sys.meta_path`: if `aborted` is set, raises SystemExit in the importing thread.

    Python cannot stop a thread from another thread, and a process waits for its threads at exit.
    """

    aborted = False
    _thread: int | None = None

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        """Return None, so that importlib calls the next finder."""
        if name in CREWAI:
            self._thread = get_ident()
        if self.aborted and get_ident() == self._thread:
            raise SystemExit
        return None
