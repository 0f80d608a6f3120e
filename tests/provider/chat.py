"""One chat completion: its request, and the ways to send an answer."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.provider.http import ResponseWriter

Call = tuple[str, Any]
"""The name of a tool and its arguments: a dict, or text to send as it is."""

_WRITTEN = re.compile(
    r"\[room\]\nIn step (\d+) you called ([\w-]+) with these arguments: (.*)\n.*\n([\s\S]*)"
)
STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}


def written_calls(messages: Iterable[dict[str, Any]]) -> list[re.Match[str]]:
    """Return the calls that messages hold as text: step, tool, arguments and result."""
    users = (m for m in messages if m.get("role") == "user")
    return [found for m in users if (found := _WRITTEN.fullmatch(str(m.get("content"))))]


def chunks(text: str, size: int = 4) -> Iterator[str]:
    """Split `text` into chunks of a few characters, like the tokens of a model."""
    return (text[start : start + size] for start in range(0, len(text), size))


@dataclass
class Chat:
    """One request to the chat endpoint, with its response."""

    body: dict[str, Any]
    key: str
    response: ResponseWriter
    first: bool
    """False if a request of the same conversation came before."""
    released: asyncio.Event
    """Set when the test calls `Provider.release`."""
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
        questions = [str(m.get("content")) for m in self.messages if m.get("role") == "user"]
        return questions[-1] if questions else ""

    @property
    def prompt(self) -> str:
        return json.dumps(self.messages, ensure_ascii=False)

    @property
    def tool_names(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.body.get("tools") or []]

    @property
    def tool_results(self) -> list[str]:
        results = [str(m.get("content")) for m in self.messages if m.get("role") == "tool"]
        return results + [written[4] for written in written_calls(self.messages)]

    @property
    def calls(self) -> list[Call]:
        """The tool calls that the messages hold already, as calls or as text."""
        calls = [
            (call["function"]["name"], json.loads(call["function"]["arguments"] or "{}"))
            for message in self.messages
            for call in message.get("tool_calls") or []
        ]
        written = written_calls(self.messages)
        return calls + [(call[2], json.loads(call[3] or "{}")) for call in written]

    def numbers(self, *defaults: float) -> list[float]:
        """Return the numbers in the name of the model; a default for each missing one."""
        found = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", self.model)]
        return [*found[: len(defaults)], *defaults[len(found) :]]

    async def send_text(
        self, words: Iterable[str], *, rate: float = 0, finish: str | None = "stop"
    ) -> None:
        """Stream `words`, at most `rate` per second; finish unless `finish` is None."""
        if not self.body.get("stream"):
            await self._send_whole("".join(words), finish)
            return
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        for number, word in enumerate(words):
            if rate:
                await asyncio.sleep(started_at + number / rate - loop.time())
            await self.send_delta({"content": word})
        if finish is not None:
            await self.finish(finish)

    async def send_delta(self, delta: dict[str, Any]) -> None:
        """Send one delta of the first choice."""
        await self.send_event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    async def call_tools(
        self, calls: Sequence[Call], *, size: int = 5, first_id: int | None = None
    ) -> None:
        """Send tool calls, the arguments `size` characters an event; finish with `tool_calls`.

        Their ids go on from those of the calls before, or begin with `first_id`.
        """
        first = len(self.calls) + 1 if first_id is None else first_id
        for number, (name, arguments) in enumerate(calls):
            encoded = arguments if isinstance(arguments, str) else json.dumps(arguments)
            head = {
                "index": number,
                "id": f"call_{first + number}",
                "type": "function",
                "function": {"name": name, "arguments": ""},
            }
            await self.send_delta({"tool_calls": [head]})
            for part in chunks(encoded, size):
                delta = {"index": number, "function": {"arguments": part}}
                await self.send_delta({"tool_calls": [delta]})
        await self.finish("tool_calls")

    async def finish(self, reason: str) -> None:
        """Send the finish reason, the usage if it was requested, and `[DONE]`."""
        await self.send_event({"choices": [STOP | {"finish_reason": reason}]})
        if (self.body.get("stream_options") or {}).get("include_usage"):
            await self.send_event({"choices": [], "usage": self.usage()})
        await self.send_bytes(b"data: [DONE]\n\n")
        await self.response.end()

    async def send_event(self, fields: dict[str, Any]) -> None:
        """Send one event with a chunk object."""
        chunk = {"id": "stub", "object": "chat.completion.chunk", "created": 0, "model": self.model}
        await self.send_bytes(b"data: " + json.dumps(chunk | fields).encode() + b"\n\n")

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes; the first call sends the head of the response, too."""
        if not self._started:
            self._started = True
            await self.response.start()
        await self.response.chunk(data)

    def usage(self) -> dict[str, int]:
        """Return token counts: four characters of the prompt or one sent chunk are one token."""
        prompt, sent = len(self.prompt) // 4, self.response.chunks
        return {"prompt_tokens": prompt, "completion_tokens": sent, "total_tokens": prompt + sent}

    async def _send_whole(self, text: str, finish: str | None) -> None:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        answer = {"id": "stub", "object": "chat.completion", "created": 0, "model": self.model}
        await self.response.json(200, answer | {"choices": [choice], "usage": self.usage()})
