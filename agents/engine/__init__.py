"""The engine: a persona and what was said go in, the parts of its answer come out as they are made.

An answer is one `LLM.acall` of CrewAI on our own loop, not `Agent.kickoff_async`: measured with 20
streams it takes 42 % of the CPU and no threads, it ends when its task is cancelled, and it sends
every message byte for byte, where kickoff wraps the last one and substitutes `{tools}` in it.

Importing this package is cheap; importing CrewAI is not (seconds), so `warm` does it in a thread.
"""

import asyncio
import gc
import importlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import ModuleType

from agents.engine import environment
from agents.engine_types import Limits, Part, PersonaSpec, Turn

environment.prepare()  # before anything below this package imports CrewAI

__all__ = ["answer", "warm"]

_answering: ModuleType | None = None


async def warm() -> None:
    """Import CrewAI without holding up the loop; call it where runs execute, right after start."""
    await _load()


async def answer(
    spec: PersonaSpec, turns: Sequence[Turn], *, limits: Limits
) -> AsyncGenerator[Part, None]:
    """Yield the parts of one answer, ending with `Finished`, or raise `AnswerFailed`.

    `aclose()` and cancelling the task that iterates stop it: the provider's connection is closed
    before either returns. Iterate under `contextlib.aclosing`, or a `break` stops it only later.
    """
    answering = await _load()
    async with aclosing(answering.parts(spec, turns, limits)) as parts:
        async for part in parts:
            yield part


async def _load() -> ModuleType:
    global _answering
    if _answering is None:
        _answering = await asyncio.to_thread(_import)
    return _answering


def _import() -> ModuleType:
    environment.decline_tracing()
    # The collector would walk all that is being made, again and again, and hold up the loop for
    # tenths of a second each time. What has been imported stays for good, so it need not look.
    gc.disable()
    try:
        return importlib.import_module("agents.engine.answer_stream")
    finally:
        gc.freeze()
        gc.enable()
