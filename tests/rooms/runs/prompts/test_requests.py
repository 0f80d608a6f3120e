"""Records of runs with several requests, made by a worker whose persona calls tools."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from asgiref.sync import sync_to_async

from agents.engine_types import Limits
from agents.models import PersonaTool
from agents.services import update_persona
from agents.tools.catalog import CATALOG
from rooms import services
from rooms.models import RoomSummary, Run, RunPrompt, RunState, SummaryState
from rooms.runs.prompts.budget import MAX_TURNS
from rooms.runs.prompts.recorded import SentRequest, requests_of
from rooms.runs.prompts.upkeep import upkeep
from rooms.runs.runner import Runner
from tests.deadlines import DEADLINE
from tests.provider import Provider
from tests.rooms.conftest import Cast
from tests.rooms.runs.prompts.asking import all_of, started, talk
from tests.rooms.runs.prompts.test_summaries import FALLEN

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def working() -> AsyncIterator[None]:
    """Run a worker with its upkeep, as `maru.server.answer_worker` does."""
    worker = Runner(2)
    worker.start()
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(upkeep.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
        await worker.drain(0)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll until the condition is true; fail after DEADLINE seconds."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110  # a database has no event to wait for
            await asyncio.sleep(0.02)


async def complete(cast: Cast, text: str) -> Run:
    """Let the member ask, and return the completed run."""
    posted = await sync_to_async(services.post_message)(
        user=cast.member, room_id=cast.room.pk, text=text
    )
    (run,) = posted.runs
    await eventually(Run.objects.filter(pk=run, state=RunState.COMPLETED).aexists)
    await eventually(RunPrompt.objects.filter(run=run).aexists)
    return await Run.objects.select_related("answer").aget(pk=run)


def as_sent(request: SentRequest) -> list[dict[str, object]]:
    """Return the messages of a recorded request in the provider's form."""
    sent: list[dict[str, object]] = []
    for each in request.messages:
        message: dict[str, object] = {"role": each.role, "content": each.content}
        if each.calls:
            message["content"] = each.content or None
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in each.calls
            ]
        if each.call:
            message["tool_call_id"] = each.call
        sent.append(message)
    return sent


async def test_later_requests_are_what_the_provider_was_sent(
    asked: Cast, provider: Provider
) -> None:
    await sync_to_async(give_calculator)(asked)
    async with working():
        run = await complete(
            asked,
            'TEXT Let me see.\nUSE calculator {"expression": "6 * 7"} & nothing {}\n'
            'USE calculator {"expression": "1 / 0"}',
        )

    requests = await sync_to_async(requests_of)(run, all_of)
    assert [request.number for request in requests] == [1, 2, 3]
    assert [as_sent(request) for request in requests] == [
        seen.messages for seen in provider.requests
    ]
    (tool,) = requests[0].tools
    (offered,) = provider.requests[0].body["tools"]
    assert (tool.name, tool.parameters) == (
        offered["function"]["name"],
        offered["function"]["parameters"],
    )

    assert run.answer_id is not None
    await sync_to_async(services.delete_message)(user=asked.owner, message_id=run.answer_id)
    gone = await Run.objects.select_related("answer").aget(pk=run.pk)
    after = str(await sync_to_async(requests_of)(gone, all_of))
    assert "Let me see." not in after.replace("TEXT Let me see.", "")
    assert "6 * 7" not in after.replace('{"expression": "6 * 7"} &', "")


async def test_the_last_request_is_recorded_as_it_was_sent_without_tools(
    asked: Cast, provider: Provider
) -> None:
    await sync_to_async(give_calculator)(asked)
    use = 'USE calculator {"expression": "6 * 7"} & nothing {}\n'
    async with working():
        run = await complete(asked, "TEXT Let me see.\n" + use * Limits().tool_requests)

    requests = await sync_to_async(requests_of)(run, all_of)
    assert len(requests) == Limits().tool_requests + 1
    assert [as_sent(request) for request in requests] == [
        seen.messages for seen in provider.requests
    ]
    assert [bool(request.tools) for request in requests] == [
        "tools" in seen.body for seen in provider.requests
    ]
    assert not requests[-1].tools


def give_calculator(cast: Cast) -> None:
    update_persona(user=cast.owner, persona_id=cast.persona.pk, model="tools")
    calculator = next(tool for tool in CATALOG if tool.key == "calculator")
    PersonaTool.objects.create(persona=cast.persona, tool=calculator.id, policy="always")


async def test_worker_writes_the_summary_of_a_full_room(asked: Cast) -> None:
    await sync_to_async(talk)(asked, MAX_TURNS + FALLEN)
    async with working():
        await complete(asked, "question")
        await eventually(
            RoomSummary.objects.filter(state=SummaryState.WRITTEN, room=asked.room).aexists
        )

    summary = await RoomSummary.objects.aget()
    assert "turn 0" in summary.text


async def test_prompts_that_were_noted_before_a_stop_are_recorded(asked: Cast) -> None:
    job = await sync_to_async(started)(asked.member, asked.room, "question")
    await RunPrompt.objects.all().adelete()
    working_on = asyncio.create_task(upkeep.run())
    await asyncio.sleep(0)
    working_on.cancel()
    upkeep.note([job])
    with suppress(asyncio.CancelledError):
        await working_on

    assert await RunPrompt.objects.filter(run=job.run).aexists()
