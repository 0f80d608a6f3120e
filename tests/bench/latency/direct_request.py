"""Time to the first text without Maru, in a process of its own.

    python -m tests.bench.latency.direct_request sdk|engine URL

`sdk` is the provider's library as called by hand, `engine` is `agents.engine.answer`. Each input
line is the JSON body of a request; the output line has the milliseconds to the first text.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from tests.bench.engine_only import configure, persona

Ask = Callable[[dict[str, Any]], Awaitable[float]]


async def sdk(url: str) -> Ask:
    """Use the openai library with one client for all requests."""
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
    """Use the engine."""
    configure(url)
    from agents import engine
    from agents.engine_types import Limits, Text, Turn

    await engine.warm()

    def turn(message: dict[str, str]) -> Turn:
        """Return the Turn of a prompt's message; the engine puts a line before a user's text."""
        if message["role"] == "assistant":
            return Turn("Bench", "persona", own=True, text=message["content"])
        return Turn("Minjae", "user", own=False, text=message["content"].partition("\n")[2])

    async def ask(body: dict[str, Any]) -> float:
        spec = persona(url, body["model"])
        turns = [turn(message) for message in body["messages"] if message["role"] != "system"]
        began, first = time.perf_counter(), 0.0
        async for part in engine.answer(spec, turns, limits=Limits()):
            if not first and isinstance(part, Text):
                first = time.perf_counter()
        return (first - began) * 1000

    return ask


async def main(library: str, url: str) -> None:
    """Write one line of output for each line of input."""
    ask = await {"sdk": sdk, "engine": engine}[library](url)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(await ask(json.loads(line)), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
