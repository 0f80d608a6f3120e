"""The tool `ask_people`: stores a question of a persona; the answers come after the attempt."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from agents.tool_types import ToolResult
from rooms.event_log import record
from rooms.executors import RUNS, in_thread_until_stored
from rooms.runs import leases
from rooms.runs.lifecycle import Job
from rooms.runs.steps import open_questions


async def ask_people(job: Job, call: str, arguments: Mapping[str, Any]) -> ToolResult | None:
    """Ask the people of the room of a run; None if the question is stored and waits for answers.

    Raises LeaseLost.
    """
    return await in_thread_until_stored(RUNS, _ask, job, UUID(call), arguments)


@transaction.atomic
def _ask(job: Job, call_id: UUID, arguments: Mapping[str, Any]) -> ToolResult | None:
    room, run = leases.lock_owned(job.run, job.owner, job.attempt)
    result, events = open_questions.ask(room, run, run.calls.get(pk=call_id), arguments)
    record(room, *events)
    return result
