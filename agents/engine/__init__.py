"""The engine: takes a persona and the turns of a room, streams the parts of one answer.

An answer is one `LLM.acall` of CrewAI on our event loop, not `Agent.kickoff_async`: measured with
20 streams, it takes 42 % of the CPU and no threads, it ends when its task is cancelled, and it
sends every message byte for byte. Kickoff wraps the last message and substitutes `{tools}` in it.

Importing this package is cheap. Importing CrewAI takes seconds, so `warm` does it in a thread.
"""

import asyncio
import gc
import importlib
import threading
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from types import ModuleType

from agents.engine import environment
from agents.engine_types import Limits, Part, PersonaSpec, Turn

environment.prepare()  # before any module of this package imports CrewAI

__all__ = ["answer", "warm"]

_import_lock = threading.Lock()


async def warm() -> None:
    """Import CrewAI in a thread. Call it in a worker right after start."""
    await asyncio.to_thread(_answer_stream)


def answer(
    spec: PersonaSpec, turns: Sequence[Turn], *, limits: Limits
) -> AsyncGenerator[Part, None]:
    """Return a generator of the parts of one answer, `Finished` last; it raises AnswerFailed.

    `aclose()` and cancelling the iterating task both stop the answer: the provider's connection is
    closed before they return. Iterate under `contextlib.aclosing`; after a `break` without it the
    answer goes on until the garbage collector closes the generator. Call it after `warm`, because
    the import would block the event loop for seconds.
    """
    stream: AsyncGenerator[Part, None] = _answer_stream().stream_answer(spec, turns, limits)
    return stream


@cache
def _answer_stream() -> ModuleType:
    """Return the module that imports CrewAI; the first call imports it."""
    with _import_lock:  # a second thread must not turn garbage collection on during the import
        environment.decline_tracing()
        # During the import the collector would traverse the new objects again and again, and block
        # the loop for tenths of a second each time. Imported modules live until the process exits,
        # so `freeze` also keeps them out of all later collections.
        gc.disable()
        try:
            return importlib.import_module("agents.engine.answer_stream")
        finally:
            gc.freeze()
            gc.enable()
