"""Send requests to a provider without Maru, in a process of its own.

    python -m tests.bench.latency.direct_request sdk|engine URL

`sdk` is the provider's library as one would call it by hand, `engine` is `agents.engine.answer`.
Each line that comes in is the body of a request; each line that goes out is the time to the first
text, in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import uvloop

Ask = Callable[[dict[str, Any]], Awaitable[float]]


async def sdk(url: str) -> Ask:
    """The openai library, with one client for all requests."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    async def ask(body: dict[str, Any]) -> float:
        began, first = time.perf_counter(), 0.0
        async for chunk in await client.chat.completions.create(**body):
            if not first and chunk.choices and chunk.choices[0].delta.content:
                first = time.perf_counter()
        return (first - began) * 1000

    return ask


async def engine(url: str) -> Ask:
    """The engine, of which Django knows no more than where it may send requests."""
    from django.conf import settings

    settings.configure(EGRESS_ALLOW=frozenset({url.split("/")[2]}))
    from agents import engine
    from agents.engine_types import Limits, PersonaSpec, Text, Turn

    await engine.warm()
    team, connection = uuid4(), uuid4()

    def turn(message: dict[str, str]) -> Turn:
        """Take back what the engine has made of a turn: a line before what others say."""
        if message["role"] == "assistant":
            return Turn("Bench", "persona", own=True, text=message["content"])
        return Turn("Minjae", "user", own=False, text=message["content"].partition("\n")[2])

    async def ask(body: dict[str, Any]) -> float:
        spec = PersonaSpec(
            team_id=team,
            connection_id=connection,
            kind="openai",
            base_url=url,
            model=body["model"],
            name="Bench",
            handle="bench",
            role="Answers in benchmarks",
            goal="Answer what is asked.",
        )
        turns = [turn(message) for message in body["messages"] if message["role"] != "system"]
        began, first = time.perf_counter(), 0.0
        async for part in engine.answer(spec, turns, limits=Limits()):
            if not first and isinstance(part, Text):
                first = time.perf_counter()
        return (first - began) * 1000

    return ask


async def main(what: str, url: str) -> None:
    """Answer each line of standard input with one of standard output."""
    ask = await {"sdk": sdk, "engine": engine}[what](url)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(await ask(json.loads(line)), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
