"""Answers with tools without the rest of Maru, in a process of its own.

    python -m tests.bench.runs.tool_cost sdk|engine URL MODEL ANSWERS AT_ONCE

`sdk` is a loop around the provider's library as written by hand, `engine` is `agents.engine.answer`
with a journal that stores nothing. The tool returns at once. Prints JSON: the CPU microseconds per
word of the answers, without the start of the process, and the milliseconds of each round.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import uvloop

from agents.tool_types import Acting, CallRequest, PastCall, Steering, ToolResult, ToolSpec
from tests.bench.engine_only import configure, persona

Answer = Callable[[], Awaitable[str]]
PARAMETERS = {"type": "object", "properties": {}}


async def sdk(url: str, model: str) -> Answer:
    """Use the openai library with one client for all answers."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    function = {"name": "look", "description": "Looks.", "parameters": PARAMETERS}
    tools: Any = [{"type": "function", "function": function}]

    async def answer() -> str:
        texts: list[str] = []
        messages: list[Any] = [{"role": "user", "content": "Go on."}]
        while True:
            calls: dict[int, dict[str, Any]] = {}
            response = client.chat.completions.create(
                model=model,
                messages=messages,
                tools=tools,
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in await response:
                if not chunk.choices:
                    continue
                delta = chunk.choices[0].delta
                texts.append(delta.content or "")
                for part in delta.tool_calls or []:
                    call = calls.setdefault(part.index, {"id": part.id, "name": "", "text": ""})
                    assert part.function is not None
                    call["name"] += part.function.name or ""
                    call["text"] += part.function.arguments or ""
            if not calls:
                return "".join(texts)
            functions = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["text"]},
                }
                for call in calls.values()
            ]
            messages.append({"role": "assistant", "content": None, "tool_calls": functions})
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": look(call["text"])}
                for call in calls.values()
            ]

    return answer


async def engine(url: str, model: str) -> Answer:
    """Use the engine."""
    configure(url)
    from dataclasses import replace

    from agents import engine
    from agents.engine_types import Limits, Text, Turn

    await engine.warm()
    tool = ToolSpec(
        id=UUID(int=3),
        name="look",
        title="Look",
        description="Looks.",
        parameters=PARAMETERS,
        reach="room",
        changes=False,
        idempotent=True,
        source="own",
        key="look",
    )
    spec = replace(persona(url, model), tools=(tool,))
    turns = [Turn("Minjae", "user", own=False, text="Go on.")]

    async def run_look(_call: str, arguments: Any) -> ToolResult:
        return ToolResult(look(json.dumps(arguments)))

    async def answer() -> str:
        acting = Acting(NoJournal(), functions={"look": run_look})
        answer = engine.answer(spec, turns, limits=Limits(), acting=acting)
        return "".join([part.text async for part in answer if isinstance(part, Text)])

    return answer


def look(arguments: str) -> str:
    """Do what the tool does."""
    return str(len(json.loads(arguments)))


class NoJournal:
    """Allows each call and stores nothing."""

    async def propose(
        self, number: int, text: str, tokens: tuple[int, int] | None, calls: Sequence[CallRequest]
    ) -> Sequence[PastCall]:
        return [PastCall(call, "allowed") for call in calls]

    async def begin(self, call: UUID) -> ToolResult | None:
        return None

    async def finish(self, call: UUID, result: ToolResult, ms: int) -> None:
        pass

    async def steering(
        self, number: int, text: str, tokens: tuple[int, int] | None, *, final: bool
    ) -> Sequence[Steering]:
        return ()


async def main(library: str, url: str, model: str, answers: int, at_once: int) -> None:
    """Answer once to warm up, then `answers` times, and print the figures."""
    answer = await {"sdk": sdk, "engine": engine}[library](url, model)
    texts: list[str] = []

    async def some() -> None:
        texts.extend([await answer() for _ in range(answers // at_once)])

    await answer()
    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(at_once)))
    used = time.process_time() - began
    words, times = 0, []
    for text in texts:
        said, _, measured = text.rpartition("[")
        words += len(said.split())
        times += json.loads(f"[{measured}")
    print(json.dumps({"cpu": used / max(words, 1) * 1e6, "times": times}))


if __name__ == "__main__":
    library, url, model, answers, at_once = sys.argv[1:]
    uvloop.run(main(library, url, model, int(answers), int(at_once)))
