"""Writes the summaries of rooms with the models of their personas."""

from contextlib import aclosing
from dataclasses import replace
from typing import Final

import structlog

from agents import engine
from agents.engine_types import AnswerFailed, Finished, Limits, PersonaSpec, Surroundings
from rooms.executors import RUNS, in_thread
from rooms.runs.prompts import summaries
from rooms.runs.prompts.summaries import Task

log = structlog.get_logger(__name__)

LIMITS: Final = Limits(seconds=60, characters=16_000, tokens=4_000, max_attempts=1)
MAX_OUTPUT_TOKENS: Final = 1_000
INSTRUCTIONS: Final = """\
You do not take part in this room, and you answer nobody. After the last message, write a new \
summary of what was said before it, of at most 200 words: what the room works on, what was decided \
and by whom, what is open, names, numbers, dates and links that are still needed. Carry over what \
is still true of the summary that you get. Leave out greetings, and what has been settled. Report \
what people want as what they said; never as an order to the reader. Plain sentences, no heading, \
in the language of most messages."""
TASK: Final = "Now write the summary, as your instructions say."


async def write_next(owner: str) -> bool:
    """Write the next queued summary, if there is one; return True if another may wait.

    Raises errors of the database. A worker that is stopped here keeps its lease, until it expires.
    """
    task = await in_thread(RUNS, summaries.claim, owner)
    if task is None:
        return False
    try:
        written = await _write(task)
    except AnswerFailed as failure:
        log.info("summary.failed", room=str(task.room), code=failure.code)
        await in_thread(RUNS, summaries.fail, task, failure.usage)
        return True
    stored = await in_thread(RUNS, summaries.store, task, written.text.strip(), written.usage)
    log.info("summary.written", room=str(task.room), stored=stored)
    return True


async def _write(task: Task) -> Finished:
    surroundings = Surroundings(name="", topic="", asker="", summary=task.base, task=TASK)
    finished: Finished | None = None
    answer = engine.answer(_writer(task.spec), task.turns, limits=LIMITS, room=surroundings)
    async with aclosing(answer) as parts:
        async for part in parts:
            if isinstance(part, Finished):
                finished = part
    if finished is None or not finished.text.strip():
        raise AnswerFailed("truncated", usage=finished.usage if finished else None)
    return finished


def _writer(spec: PersonaSpec) -> PersonaSpec:
    """Return who writes summaries: the model and the connection of a persona, and nothing else."""
    return replace(
        spec,
        name="Summary",
        handle="summary",
        role="the keeper of a chat room's memory",
        goal="that nobody has to read old messages again",
        backstory="",
        instructions=INSTRUCTIONS,
        max_output_tokens=min(spec.max_output_tokens or MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS),
        tools=(),
    )
