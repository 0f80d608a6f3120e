"""Encodes the deltas of an answer as the events that the OpenAI SDK and CrewAI read.

CrewAI loses the text of an event that also has token counts, and restarts a call whose stream holds
an error. So the events here are plain: text, or a fragment of a tool call, and at the end the
finish reason, the token counts and `[DONE]`. A failure ends the call.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Final

import httpx
import msgspec

from agents.engine.failures import CallAborted
from agents.engine.stream.body import EVENTS_PER_TURN, AnswerBody
from agents.engine.stream.chat import TextDelta
from agents.engine.stream.reader import Delta
from agents.engine_types import AnswerFailed, Usage

_TEXT: Final = b'data: {"choices":[{"index":0,"delta":{"content":%b},"finish_reason":null}]}\n\n'


class SdkEventStream(httpx.AsyncByteStream):
    """The body of one response, as events for the SDK. Raises CallAborted for a failed answer.

    `merged` is the number of events of the provider that became no event of their own.
    """

    def __init__(self, body: AnswerBody) -> None:
        self._body = body
        self._encoded = 0

    @property
    def merged(self) -> int:
        return self._body.reader.deltas - self._encoded

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reader = self._body.reader
        try:
            async with aclosing(self._body.batches()) as batches:
                async for batch in batches:
                    for delta in _merge(batch):
                        self._encoded += 1
                        yield _encode(delta)
                        if self._encoded % EVENTS_PER_TURN == 0:
                            await asyncio.sleep(0)
        except AnswerFailed as failure:
            raise CallAborted(failure) from None
        yield _encode_end(reader.finish_reason or "stop", reader.usage)

    async def aclose(self) -> None:
        """Stop reading and close the connection."""
        await self._body.aclose()


def _merge(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """Join adjacent texts, and adjacent fragments of the arguments of one tool call."""
    first: Delta | None = None
    pieces: list[str] = []
    for delta in deltas:
        if first is not None and _continues(first, delta):
            pieces.append(delta[-1])
            continue
        if first is not None:
            yield _join(first, pieces)
        first, pieces = delta, [delta[-1]]
    if first is not None:
        yield _join(first, pieces)


def _continues(first: Delta, delta: Delta) -> bool:
    if isinstance(first, TextDelta) or isinstance(delta, TextDelta):
        return isinstance(first, TextDelta) and isinstance(delta, TextDelta)
    return first.number == delta.number and not delta.id and not delta.name


def _join(first: Delta, pieces: list[str]) -> Delta:
    if isinstance(first, TextDelta):
        return TextDelta("".join(pieces))
    return first._replace(arguments="".join(pieces))


def _encode(delta: Delta) -> bytes:
    if isinstance(delta, TextDelta):
        return _TEXT % msgspec.json.encode(delta.text)
    function = {"name": delta.name, "arguments": delta.arguments}
    call = {"index": delta.number, "id": delta.id, "type": "function", "function": function}
    # Not msgspec, which cannot encode the surrogates that a provider may send.
    return _event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})


def _encode_end(reason: str, usage: Usage | None) -> bytes:
    end = _event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    if usage is not None:
        counts = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
        total = usage.input_tokens + usage.output_tokens
        end += _event({"choices": [], "usage": {**counts, "total_tokens": total}})
    return end + b"data: [DONE]\n\n"


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(fields).encode()
