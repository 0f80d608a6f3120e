"""The models that misbehave, one function for each fault."""

import asyncio
import re
from collections.abc import Iterator
from itertools import count

from tests.provider.chat import Chat

DELTA = b'{"id":"x","object":"chat.completion.chunk","created":0,"model":"m","choices":%b}'
OK = DELTA % b'[{"index":0,"delta":{"content":"fine "},"finish_reason":null}]'
MALFORMED: dict[str, bytes] = {
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
    """`fault-429`: any status of three digits.

    `-once`: only for the first request of the same conversation. `-retry-2`: with `Retry-After: 2`.
    """
    code = int(re.findall(r"\d{3}", chat.model)[0])
    if chat.model.endswith("-once") and not chat.first:
        await chat.send_text(["fine ", "now"])
        return
    retry = re.search(r"retry-(\d+)", chat.model)
    headers = {"Retry_After": retry[1]} if retry else {}
    message = f"Refused {chat.key} by host.internal:1234"
    await chat.response.json(code, {"error": {"message": message, "code": code}}, **headers)


async def refuse_key(chat: Chat) -> None:
    """Answer 401 with the key in the message, as providers do."""
    message = f"Incorrect API key provided: {chat.key}"
    await chat.response.json(401, {"error": {"message": message, "code": "invalid_api_key"}})


async def redirect(chat: Chat) -> None:
    """Redirect to `/_stub/trap`, which records every request in `Provider.hits`."""
    await chat.response.body(307, "text/plain", b"", Location="/_stub/trap")


async def reset_after(chat: Chat) -> None:
    """`fault-reset-after-5`: five tokens, then a TCP reset."""
    await _send_tokens(chat)
    chat.response.reset()


async def cut_after(chat: Chat) -> None:
    """`fault-cut-after-5`: five tokens, then the connection closes inside the stream."""
    await _send_tokens(chat)
    chat.response.cut()


async def hang_after(chat: Chat) -> None:
    """`fault-hang-after-5`: five tokens, then nothing more."""
    await _send_tokens(chat)
    await asyncio.Event().wait()


async def hang(chat: Chat) -> None:
    """Send nothing, not even the headers."""
    await asyncio.Event().wait()


async def garbage(chat: Chat) -> None:
    """`fault-garbage-KEY`: an event of MALFORMED, then `[DONE]` and a normal end."""
    key = chat.model.removeprefix("fault-garbage").lstrip("-") or "json"
    await chat.send_bytes(MALFORMED[key])
    await chat.send_bytes(b"data: [DONE]\n\n")
    await chat.response.end()


async def truncated(chat: Chat) -> None:
    """End the body without a finish reason and without `[DONE]`."""
    await chat.send_text(["half ", "an "], finish=None)
    await chat.response.end()


async def drip(chat: Chat) -> None:
    """`fault-drip@10`: a valid, endless answer at ten bytes per second."""
    (rate,) = chat.numbers(10)
    for number in count():
        for byte in b"data: " + OK + b"\n\n" if number % 2 else b": still here\n\n":
            await chat.send_bytes(bytes([byte]))
            await asyncio.sleep(1 / rate)


async def keepalive(chat: Chat) -> None:
    """Send comment lines without end (WHATWG HTML §9.2.6), and no event."""
    while True:
        await chat.send_bytes(b": keepalive\n\n")
        await asyncio.sleep(0.05)


async def endless(chat: Chat) -> None:
    """Endless text, as fast as the client reads."""
    await chat.send_text(_repeat("more and more "))


async def endless_event(chat: Chat) -> None:
    """Valid lines without end, and no blank line that would end the event."""
    while True:
        await chat.send_bytes(b"data: so far\n" * 100)


async def endless_bytes(chat: Chat) -> None:
    """One endless line, in small chunks."""
    await chat.send_bytes(b"data: ")
    while True:
        await chat.send_bytes(b"x" * 100)


async def endless_tool(chat: Chat) -> None:
    """`fault-endless-tool@1000`: a tool call with endless arguments, 1,000 characters per event."""
    (size,) = chat.numbers(1000)
    head = {"index": 0, "id": "call_1", "type": "function"}
    await chat.send_delta({"tool_calls": [head | {"function": {"name": "look", "arguments": ""}}]})
    while True:
        part = {"arguments": "x" * int(size)}
        await chat.send_delta({"tool_calls": [{"index": 0, "function": part}]})


async def empty(chat: Chat) -> None:
    """A complete answer without text."""
    await chat.send_text([])


async def blank(chat: Chat) -> None:
    """A complete answer of white space."""
    await chat.send_text([" ", "\n", "\t"])


async def megabyte(chat: Chat) -> None:
    """An answer of about a million characters."""
    await chat.send_text("0123456789abcdef" * 256 for _ in range(256))


async def html(chat: Chat) -> None:
    """Status 200 with an HTML page, like the login page of a proxy."""
    await chat.response.body(200, "text/html", b"<html><body>Please sign in</body></html>")


async def plain_json(chat: Chat) -> None:
    """A whole JSON answer, although the request asks for a stream."""
    chat.body["stream"] = False
    await chat.send_text(["all ", "at once"])


async def error_in_stream(chat: Chat) -> None:
    """`fault-error-502`: some text, then an error object inside the stream."""
    (code,) = chat.numbers(502)
    await chat.send_text(["so "], finish=None)
    message = f"Rate limit or too many requests for {chat.key}"
    await chat.send_event({"error": {"code": int(code), "message": message}})
    await chat.response.end()


async def _send_tokens(chat: Chat) -> None:
    (number,) = chat.numbers(5)
    await chat.send_text((f"t{n} " for n in range(int(number))), finish=None)


def _repeat(word: str) -> Iterator[str]:
    while True:
        yield word
