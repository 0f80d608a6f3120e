"""CPU per chunk of many concurrent streams without Maru, in a process of its own.

    python -m tests.bench.runs.stream_cost sdk|engine URL MODEL STREAMS

`sdk` is the provider's library as called by hand, `engine` is `agents.engine.answer`. Prints the
CPU microseconds per chunk, without the start of the process.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from tests.bench.engine_only import configure, persona

Stream = Callable[[], Awaitable[int]]


async def sdk(url: str, model: str) -> Stream:
    """Use the openai library with one client for all streams."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    async def stream() -> int:
        chunks = 0
        response = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Go on."}], stream=True
        )
        async for chunk in await response:
            chunks += bool(chunk.choices and chunk.choices[0].delta.content)
        return chunks

    return stream


async def engine(url: str, model: str) -> Stream:
    """Use the engine."""
    configure(url)
    from agents import engine
    from agents.engine_types import Limits, Text, Turn

    await engine.warm()
    spec = persona(url, model)

    async def stream() -> int:
        turns = [Turn("Minjae", "user", own=False, text="Go on.")]
        answer = engine.answer(spec, turns, limits=Limits())
        texts = [part.text async for part in answer if isinstance(part, Text)]
        return len("".join(texts).split())  # a chunk is a word; the engine may merge chunks

    return stream


async def main(library: str, url: str, model: str, streams: int) -> None:
    """Stream once to warm up, then `streams` times at once, and print the CPU per chunk."""
    stream = await {"sdk": sdk, "engine": engine}[library](url, model)
    await stream()
    began = time.process_time()
    chunks = sum(await asyncio.gather(*(stream() for _ in range(streams))))
    print((time.process_time() - began) / chunks * 1e6)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
