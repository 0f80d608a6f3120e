"""An answer that is cancelled leaves no connection open, at each step of the loop."""

import asyncio
import threading
from contextlib import aclosing, suppress

import uvloop
from pytest_django import Settings

from agents.engine import answer, warm
from agents.engine_types import Limits, PersonaSpec
from tests.agents.engine.answers import persona, user_turn
from tests.deadlines import DEADLINE
from tests.provider import Provider

STEPS = 60
"""More steps of the loop than it takes to connect, to send the request and to read the head."""
TIMES = 3


def test_connection_is_closed_at_each_step_at_which_the_answer_is_cancelled(
    provider: Provider, settings: Settings
) -> None:
    """On uvloop, as in production: it connects even if the task that waits for it is cancelled."""
    settings.EGRESS_ALLOW = frozenset({provider.address})
    spec = persona(provider.base_url, "held-5")

    thread = threading.Thread(target=uvloop.run, args=[_cancel_at_each_step(spec)])
    thread.start()
    thread.join()

    assert provider.requests  # the later steps are behind the request
    assert provider.wait(lambda provider: provider.connections == 0)


async def _cancel_at_each_step(spec: PersonaSpec) -> None:
    await warm()
    for step in [*range(STEPS)] * TIMES:
        task = asyncio.create_task(_read(spec))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.1)  # a connection may be established after the cancellation


async def _read(spec: PersonaSpec) -> None:
    async with aclosing(
        answer(spec, [user_turn("Hello?")], limits=Limits(seconds=DEADLINE))
    ) as parts:
        async for _part in parts:
            pass
