"""A persona that leads and two others, as clients, workers and the engine make them."""

import json
from typing import Any

from accounts.ids import new_id
from agents.tool_types import CallRequest, ToolResult
from rooms import services
from rooms.models import Run, ToolCall
from rooms.runs.crews import led
from rooms.runs.crews.led import ASK_PERSONA
from rooms.runs.lifecycle import Job
from rooms.runs.steps import journal, waiting
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast


def start() -> Job:
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    return taken[1]


def lead(cast: Cast, text: str = "question", **options: Any) -> Job:
    services.post_message(user=cast.member, room_id=cast.room.pk, text=text, **options)
    return start()


def has_tool(job: Job) -> bool:
    return ASK_PERSONA in [tool.id for tool in job.spec.tools]


def request(job: Job, handle: str, question: str = "What do you think?") -> CallRequest:
    spec = next((tool for tool in job.spec.tools if tool.id == ASK_PERSONA), None)
    arguments = json.dumps({"persona": handle, "question": question})
    return CallRequest(new_id(), "call", led.KEY, arguments, spec)


def ask(job: Job, *handles: str, number: int = 0) -> list[ToolResult | None]:
    """Do what the engine does with one request that calls `ask_persona` for each handle."""
    calls = [request(job, handle) for handle in handles]
    stored = journal.propose(job, number, "Let me ask. ", (10, 20), calls)
    assert [call.state for call in stored] == ["allowed"] * len(calls)
    results = []
    for call, handle in zip(calls, handles, strict=True):
        assert journal.begin(job, call.id) is None
        result = led.ask(job.run, job.owner, job.attempt, call.id, handle)
        if result is not None:
            journal.finish(job, call.id, result, 1)
        results.append(result)
    return results


def wait(job: Job) -> None:
    waiting.wait(job, "Let me ask. ", None)


def state(job: Job) -> str:
    return Run.objects.get(pk=job.run).state


def results() -> list[tuple[str, str]]:
    calls = ToolCall.objects.order_by("request", "position")
    return [(call.state, call.result) for call in calls]
