"""The stub's side of one chat completion: what was asked, and the ways to stream an answer."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.provider.http import Reply

STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}


def pieces(text: str, size: int = 4) -> Iterator[str]:
    """Cut `text` as a model's tokens would: into a few characters each."""
    return (text[start : start + size] for start in range(0, len(text), size))


@dataclass
class Chat:
    """One completion in the making."""

    body: dict[str, Any]
    key: str
    reply: Reply
    first: bool
    released: asyncio.Event
    _started: bool = field(default=False, init=False)

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body.get("messages") or [])

    @property
    def question(self) -> str:
        """The last user message."""
        asked = [str(m.get("content")) for m in self.messages if m.get("role") == "user"]
        return asked[-1] if asked else ""

    @property
    def prompt(self) -> str:
        return json.dumps(self.messages, ensure_ascii=False)

    @property
    def tool_names(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.body.get("tools") or []]

    @property
    def tool_results(self) -> list[str]:
        return [str(m.get("content")) for m in self.messages if m.get("role") == "tool"]

    def numbers(self, *defaults: float) -> list[float]:
        """Return the numbers in the model's name, and the defaults of those that are missing."""
        found = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", self.model)]
        return [*found[: len(defaults)], *defaults[len(found) :]]

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def say(
        self, words: Iterable[str], *, rate: float = 0, finish: str | None = "stop"
    ) -> None:
        """Stream `words`, at most `rate` a second, and end unless `finish` is None."""
        if not self.body.get("stream"):
            await self._say_at_once("".join(words), finish)
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, word in enumerate(words):
            if rate:
                await asyncio.sleep(began + number / rate - loop.time())
            await self.delta({"content": word})
        if finish is not None:
            await self.finish(finish)

    async def delta(self, delta: dict[str, Any]) -> None:
        """Stream one delta of the first choice."""
        await self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> None:
        """Stream a tool call in two halves and end with `tool_calls`."""
        written = json.dumps(arguments)
        head = {"index": 0, "id": "call_1", "type": "function"}
        await self.delta({"tool_calls": [head | {"function": {"name": name, "arguments": ""}}]})
        for half in (written[:5], written[5:]):
            await self.delta({"tool_calls": [{"index": 0, "function": {"arguments": half}}]})
        await self.finish("tool_calls")

    async def finish(self, reason: str) -> None:
        """Stream the finish reason, the usage where asked for, and the end."""
        await self.event({"choices": [STOP | {"finish_reason": reason}]})
        if (self.body.get("stream_options") or {}).get("include_usage"):
            await self.event({"choices": [], "usage": self.usage()})
        await self.raw(b"data: [DONE]\n\n")
        await self.reply.end()

    async def event(self, fields: dict[str, Any]) -> None:
        """Stream one chunk object."""
        chunk = {"id": "stub", "object": "chat.completion.chunk", "created": 0, "model": self.model}
        await self.raw(b"data: " + json.dumps(chunk | fields).encode() + b"\n\n")

    async def raw(self, data: bytes) -> None:
        """Stream bytes as they are."""
        if not self._started:
            self._started = True
            await self.reply.start()
        await self.reply.chunk(data)

    def usage(self) -> dict[str, int]:
        """Count tokens: four characters in, one chunk out."""
        asked, said = len(self.prompt) // 4, self.reply.chunks
        return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}

    async def _say_at_once(self, text: str, finish: str | None) -> None:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        answer = {"id": "stub", "object": "chat.completion", "created": 0, "model": self.model}
        await self.reply.json(200, answer | {"choices": [choice], "usage": self.usage()})
