"""Workers are killed while runs call tools and people decide on the calls."""

import asyncio
import json
import random
from itertools import count, cycle
from pathlib import Path

from tests.chaos.runs.worker_faults import kill_busy_worker
from tests.chaos.target import POLL_SECONDS, Outcome, Target
from tests.cluster.harness import acting
from tests.cluster.harness.acting import ALWAYS, ASK
from tests.cluster.harness.recording_client import gather_or_cancel

MODELS = (ALWAYS, ASK)
TOOLS = ("look", "send")


async def call_tools(target: Target, folder: Path, *, prompts: int, kills: int) -> Outcome:
    """Kill a random worker repeatedly while personas call tools, half of them after a decision.

    Each question makes two calls at once and one more after their results. In each room one persona
    answers one question at a time: the model follows the last script of its prompt. `folder` has
    the counts of the tools. The kills are spread evenly over the prompts.
    """
    killed = 0
    sent = 0
    numbers = count()

    async def ask_repeatedly(room: str, model: str) -> None:
        nonlocal sent
        while (number := next(numbers)) < prompts or killed < kills:
            client = clients.any_in(room)
            result = await client.send_message(_script(number), model=model)
            sent += 1
            (run,) = result["runs"]
            await client.until_ended(run)

    async with target.clients() as clients:
        acting.install_tools(target.cluster)
        rooms = zip(clients.rooms, cycle(MODELS), strict=False)
        deciding = asyncio.create_task(_decide(target))
        asking = asyncio.create_task(gather_or_cancel(ask_repeatedly(*each) for each in rooms))
        while killed < kills and not asking.done():
            if sent >= prompts * (killed + 1) // (kills + 1):
                killed += len(await kill_busy_worker(target))
            await asyncio.sleep(POLL_SECONDS)
        await asking
        if deciding.done():
            await deciding  # raises what has failed
        deciding.cancel()
        outcome = await target.check(clients)
    rooms_of_target = [room.id for room in target.rooms]
    calls = await asyncio.to_thread(acting.read_calls, target.cluster.postgres, rooms_of_target)
    executed = acting.executions(folder)
    outcome.violations += acting.violations(calls, executed)
    outcome.figures |= {
        "kills": killed,
        "calls": len(calls),
        "executions": sum(executed.values()),
        "calls done": sum(call.state == "done" for call in calls),
        "unknown outcomes, all said": sum(call.state == "unknown" for call in calls),
        "repeated executions": sum(times > 1 for times in executed.values()),
    }
    return outcome


def _script(number: int) -> str:
    """Return a question whose model calls both tools at once, then one of them."""

    def call(tool: str, part: int) -> str:
        return f"{tool} {json.dumps({'key': f'{number}.{part}'})}"

    return (
        f"TEXT First.\nUSE {call('look', 0)} & {call('send', 1)}\n"
        f"TEXT Second.\nUSE {call(random.choice(TOOLS), 2)}"
    )


async def _decide(target: Target) -> None:
    """Allow every call that asks, as the owner of its room: now and then twice at once."""
    webs = cycle(target.cluster.webs)
    while True:
        for room in target.rooms:
            web, owner = next(webs), room.members[0]
            for approval in await asyncio.to_thread(acting.pending, web, owner):
                times = random.choice((1, 1, 2))
                decisions = [
                    asyncio.to_thread(acting.decide, web, owner, approval) for _ in range(times)
                ]
                won = await gather_or_cancel(decisions)
                assert sum(won) <= 1, f"{approval['id']} was decided twice"
        await asyncio.sleep(POLL_SECONDS)
