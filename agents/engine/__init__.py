"""The engine: takes a persona and the turns of a room, and streams the parts of one answer.

An answer is one call of `acall` of our LLM for CrewAI (`provider_llm`), on our event loop.
`Agent.kickoff_async` is not used: measured with 20 streams, `acall` needs 42 % of its CPU time and
no threads. `acall` also ends when its task is cancelled, and sends every message unchanged, while
`kickoff_async` wraps the last message and substitutes `{tools}` in it.

Importing this package is fast. Importing CrewAI takes seconds, so `warm` does it in a thread.
"""

import asyncio
import gc
import importlib
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from types import ModuleType

from agents.egress.proxy import tls_context
from agents.engine import environment
from agents.engine_types import Limits, Part, PersonaSpec, Surroundings, Turn
from agents.tool_types import Acting

environment.prepare()  # before any module of this package imports CrewAI

__all__ = ["answer", "warm"]


async def warm() -> None:
    """Import CrewAI and read the certificates, in a thread. A worker calls this when it starts."""
    await asyncio.to_thread(_warm)


def answer(
    spec: PersonaSpec,
    turns: Sequence[Turn],
    *,
    limits: Limits,
    room: Surroundings | None = None,
    acting: Acting | None = None,
) -> AsyncGenerator[Part, None]:
    """Return a generator of the parts of one answer; it raises AnswerFailed.

    The last part is `Finished`, or `Suspended` if the answer waits for people or for another run.
    Without `acting`, the persona has no tools. What the journal and the functions of `acting`
    raise is raised unchanged. The usage is that of the requests that this attempt has sent.

    The model gets the persona, what `room` says about the room, and the turns; see `prompt`.

    `aclose()`, or cancelling the task that iterates, stops the answer and closes the connection to
    the provider before control returns. Iterate under `contextlib.aclosing`: after a `break`
    without it, the answer continues until the garbage collector closes the generator. Call this
    function after `warm`, because the import would block the event loop for seconds.
    """
    module = _answer_stream()
    stream: AsyncGenerator[Part, None] = module.stream_answer(spec, turns, limits, room, acting)
    return stream


def _warm() -> None:
    _answer_stream()
    tls_context()


@cache
def _answer_stream() -> ModuleType:
    """Return the module that imports CrewAI; the first call imports it."""
    environment.keep_locks_in_process()
    environment.decline_tracing()
    # During the import the collector would traverse the new objects again and again, and block the
    # loop for tenths of a second each time. Imported modules live until the process exits, so
    # `freeze` also keeps them out of all later collections.
    gc.disable()
    try:
        return importlib.import_module("agents.engine.answer_stream")
    finally:
        gc.freeze()
        gc.enable()
