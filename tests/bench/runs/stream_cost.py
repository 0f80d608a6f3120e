"""Read many concurrent streams of a provider without Maru, in a process of its own.

    python -m tests.bench.runs.stream_cost sdk|engine URL MODEL STREAMS

`sdk` is the provider's library as one would call it by hand, `engine` is `agents.engine.answer`.
Prints the CPU that a chunk has cost, in microseconds; what starting costs is not in it.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import uvloop

Stream = Callable[[], Awaitable[int]]


async def sdk(url: str, model: str) -> Stream:
    """The openai library, with one client for all streams."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    async def stream() -> int:
        chunks = 0
        asked = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Go on."}], stream=True
        )
        async for chunk in await asked:
            chunks += bool(chunk.choices and chunk.choices[0].delta.content)
        return chunks

    return stream


async def engine(url: str, model: str) -> Stream:
    """The engine, of which Django knows no more than where it may send requests."""
    from django.conf import settings

    settings.configure(EGRESS_ALLOW=frozenset({url.split("/")[2]}))
    from agents import engine
    from agents.engine_types import Limits, PersonaSpec, Text, Turn

    await engine.warm()
    spec = PersonaSpec(
        team_id=UUID(int=1),
        connection_id=UUID(int=2),
        kind="openai",
        base_url=url,
        model=model,
        name="Bench",
        handle="bench",
        role="Answers in benchmarks",
        goal="Answer what is asked.",
    )

    async def stream() -> int:
        turns = [Turn("Minjae", "user", own=False, text="Go on.")]
        answer = engine.answer(spec, turns, limits=Limits())
        texts = [part.text async for part in answer if isinstance(part, Text)]
        return len("".join(texts).split())  # a chunk is a word, and some come together

    return stream


async def main(what: str, url: str, model: str, streams: int) -> None:
    """Stream once to warm up, then many at once."""
    stream = await {"sdk": sdk, "engine": engine}[what](url, model)
    await stream()
    began = time.process_time()
    chunks = sum(await asyncio.gather(*(stream() for _ in range(streams))))
    print((time.process_time() - began) / chunks * 1e6)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
