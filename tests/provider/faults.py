"""The ways in which a provider can misbehave, one small function each."""

import asyncio
import re
from collections.abc import Iterator
from itertools import count

from tests.provider.stream import Chat

DELTA = b'{"id":"x","object":"chat.completion.chunk","created":0,"model":"m","choices":%b}'
OK = DELTA % b'[{"index":0,"delta":{"content":"fine "},"finish_reason":null}]'
SHAPES: dict[str, bytes] = {
    "json": b"data: {not json\n\n",
    "half": b'data: {"id": "x", "choi\n\n',
    "nul": b"data: \x00\x00\x00\n\n",
    "ff": b"data: \xff\xfe\xff\n\n",
    "surrogate": b'data: {"choices": [{"delta": {"content": "\xed\xa0\x80"}}]}\n\n',
    "long": b"data: " + b"x" * 5_000_000 + b"\n\n",
    "event": b"event: surprise\ndata: hello\n\n",
    "choices-null": b"data: " + DELTA % b"null" + b"\n\n",
    "choices-number": b"data: " + DELTA % b"7" + b"\n\n",
    "choices-strings": b"data: " + DELTA % b'["a","b"]' + b"\n\n",
    "delta-null": b"data: " + DELTA % b'[{"index":0,"delta":null}]' + b"\n\n",
    "content-number": b"data: " + DELTA % b'[{"index":0,"delta":{"content":7}}]' + b"\n\n",
    "content-list": b"data: " + DELTA % b'[{"index":0,"delta":{"content":["a"]}}]' + b"\n\n",
    "array": b"data: [1, 2, 3]\n\n",
    "number": b"data: 7\n\n",
    "null": b"data: null\n\n",
    "string": b'data: "hello"\n\n',
    "deep": b"data: " + b"[" * 100_000 + b"\n\n",
    "tool-null": b"data: "
    + DELTA % b'[{"index":0,"delta":{"tool_calls":[{"index":0,"function":null}]}}]'
    + b"\n\n",
    "no-sse": b"\x89PNG\r\n\x1a\n not a stream of events at all",
    "good-then-json": b"data: " + OK + b"\n\ndata: {broken\n\n",
}


async def status(chat: Chat) -> None:
    """`fault-429`, `fault-500-once`, `fault-429-retry-2` and so on: any status."""
    code = int(re.findall(r"\d{3}", chat.model)[0])
    if chat.model.endswith("-once") and not chat.first:
        await chat.say(["fine ", "now"])
        return
    retry = re.search(r"retry-(\d+)", chat.model)
    headers = {"Retry_After": retry[1]} if retry else {}
    message = f"Refused {chat.key} by host.internal:1234"
    await chat.reply.json(code, {"error": {"message": message, "code": code}}, **headers)


async def refuse_key(chat: Chat) -> None:
    """Answer as providers do to a wrong key: with the key in the message."""
    message = f"Incorrect API key provided: {chat.key}"
    await chat.reply.json(401, {"error": {"message": message, "code": "invalid_api_key"}})


async def redirect(chat: Chat) -> None:
    """Send the caller, key and all, somewhere else."""
    await chat.reply.whole(307, "text/plain", b"", Location="/_stub/trap")


async def reset_after(chat: Chat) -> None:
    """`fault-reset-after-5`: five tokens, then a TCP reset."""
    await _some(chat)
    chat.reply.reset()


async def cut_after(chat: Chat) -> None:
    """`fault-cut-after-5`: five tokens, then the connection ends inside the stream."""
    await _some(chat)
    chat.reply.cut()


async def hang_after(chat: Chat) -> None:
    """`fault-hang-after-5`: five tokens, then silence."""
    await _some(chat)
    await asyncio.Event().wait()


async def hang(chat: Chat) -> None:
    """Never answer, not even the headers."""
    await asyncio.Event().wait()


async def garbage(chat: Chat) -> None:
    """`fault-garbage-SHAPE`: one of SHAPES, then an orderly end of the connection."""
    shape = chat.model.removeprefix("fault-garbage").lstrip("-") or "json"
    await chat.raw(SHAPES[shape])
    await chat.raw(b"data: [DONE]\n\n")
    await chat.reply.end()


async def truncated(chat: Chat) -> None:
    """End in order, `[DONE]` included, but without a finish reason."""
    await chat.say(["half ", "an "], finish=None)
    await chat.raw(b"data: [DONE]\n\n")
    await chat.reply.end()


async def drip(chat: Chat) -> None:
    """`fault-drip@10`: a good answer without end, ten bytes a second."""
    (rate,) = chat.numbers(10)
    for number in count():
        for byte in b"data: " + OK + b"\n\n" if number % 2 else b": still here\n\n":
            await chat.raw(bytes([byte]))
            await asyncio.sleep(1 / rate)


async def keepalive(chat: Chat) -> None:
    """Comments only, for ever: never silent, never an answer."""
    while True:
        await chat.raw(b": keepalive\n\n")
        await asyncio.sleep(0.05)


async def endless(chat: Chat) -> None:
    """Text without end, as fast as it is taken."""
    await chat.say(_for_ever("more and more "))


async def endless_event(chat: Chat) -> None:
    """Lines that are each in order, and never the blank one that ends an event."""
    while True:
        await chat.raw(b"data: so far\n" * 100)


async def endless_bytes(chat: Chat) -> None:
    """One line without end, in small pieces."""
    await chat.raw(b"data: ")
    while True:
        await chat.raw(b"x" * 100)


async def endless_tool(chat: Chat) -> None:
    """`fault-endless-tool@1000`: a call of a tool whose arguments never end, so many at once."""
    (size,) = chat.numbers(1000)
    head = {"index": 0, "id": "call_1", "type": "function"}
    await chat.delta({"tool_calls": [head | {"function": {"name": "look", "arguments": ""}}]})
    while True:
        written = {"arguments": "x" * int(size)}
        await chat.delta({"tool_calls": [{"index": 0, "function": written}]})


async def empty(chat: Chat) -> None:
    """An orderly answer of nothing."""
    await chat.say([])


async def blank(chat: Chat) -> None:
    """An orderly answer of white space."""
    await chat.say([" ", "\n", "\t"])


async def megabyte(chat: Chat) -> None:
    """A million characters."""
    await chat.say("0123456789abcdef" * 256 for _ in range(256))


async def html(chat: Chat) -> None:
    """The login page of some proxy, with status 200."""
    await chat.reply.whole(200, "text/html", b"<html><body>Please sign in</body></html>")


async def plain_json(chat: Chat) -> None:
    """A whole answer, though a stream was asked for."""
    chat.body["stream"] = False
    await chat.say(["all ", "at once"])


async def error_in_stream(chat: Chat) -> None:
    """`fault-error-502`: some text, then an error object inside the stream."""
    (code,) = chat.numbers(502)
    await chat.say(["so "], finish=None)
    message = f"Rate limit or too many requests for {chat.key}"
    await chat.event({"error": {"code": int(code), "message": message}})
    await chat.reply.end()


async def _some(chat: Chat) -> None:
    (number,) = chat.numbers(5)
    await chat.say((f"t{n} " for n in range(int(number))), finish=None)


def _for_ever(word: str) -> Iterator[str]:
    while True:
        yield word
