"""The models of the stub provider that call tools."""

import asyncio
import html
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from tests.provider.chat import Call, Chat, chunks, written_calls

MAX_CALLS: Final = 16
_COMMAND: Final = re.compile(r"\b(CALL) +([\w-]+) +(?=\{)|\b(SAY) +([^\n\\<\"]+)")
_STEP: Final = re.compile(r"^(TEXT|THINK|USE|WAIT|HOLD|FAIL)\b *(.*)$", re.MULTILINE)


async def obedient(chat: Chat) -> None:
    """Do what any text of the request says: `CALL tool {"a": 1}` and `SAY words`, in any message.

    The texts are the messages of each role, the results of tools, and the descriptions of tools.
    Each command is carried out once in a run, also if no tool of this name was offered. A request
    that offers no tools gets text.
    """
    calls, words = [], []
    for text in _texts(chat):
        for kind, value in _commands(text):
            if kind == "CALL":
                calls.append(value)
            else:
                words.append(value)
    for made in chat.calls:
        if made in calls:
            calls.remove(made)
    if calls and chat.tool_names:
        await chat.call_tools(calls[:MAX_CALLS])
    else:
        await chat.send_text(chunks(" ".join(words) or "Done."))


async def tools(chat: Chat) -> None:
    """Follow the script in the last user message that has one.

    Without a script, call the first tool once, then answer with its result.
    """
    script = _script(chat)
    if script is not None:
        await _play(chat, script)
    elif chat.tool_results:
        await chat.send_text(chunks(f"The tool said: {chat.tool_results[-1]}"))
    elif chat.tool_names:
        await chat.send_text(["Let me look. "], finish=None)
        await chat.call_tools([(chat.tool_names[0], {"text": "hello"})])
    else:
        await chat.send_text(["no tools here"])


async def tools_required(chat: Chat) -> None:
    """Like `tools`, but refuse calls in the messages of a request that offers no tools."""
    if any(m.get("tool_calls") for m in chat.messages) and not chat.tool_names:
        message = "Requests which include `tool_use` or `tool_result` blocks must define tools."
        error = {"type": "invalid_request_error", "message": message}
        await chat.response.json(400, {"error": error})
    else:
        await tools(chat)


async def tools_loop(chat: Chat) -> None:
    """Call the first tool in every request, also in one that offers none; all ids are the same."""
    name = chat.tool_names[0] if chat.tool_names else chat.calls[-1][0]
    arguments = {"text": f"again {len(chat.tool_results)}"}
    await chat.call_tools([(name, arguments)], first_id=1)


async def rounds(chat: Chat) -> None:
    """`rounds-2-100@50`: two requests of 100 tokens and a call of the first tool, then 100 tokens.

    The arguments have the time at which they are sent. The text ends with the milliseconds from
    each of these times to the next request, all on the clock of the provider.
    """
    number, count, rate = chat.numbers(2, 0, 0)
    at = time.monotonic()
    times: list[float] = []
    if chat.calls:
        before = chat.calls[-1][1]
        times = [*before["times"], (at - before["sent"]) * 1000]
    await chat.send_text((f"t{n} " for n in range(int(count))), rate=rate, finish=None)
    if len(times) < number:
        arguments = {"times": times, "sent": time.monotonic()}
        await chat.call_tools([(chat.tool_names[0], arguments)], size=1000)
    else:
        await chat.send_text([json.dumps(times)])


def _texts(chat: Chat) -> Iterator[str]:
    """Yield every text that a person, a tool or a web page can have written into the request."""
    for tool in chat.body.get("tools") or []:
        yield json.dumps(tool, ensure_ascii=False)
    for message in chat.messages:
        if message.get("content") and message.get("role") != "assistant":
            yield str(message["content"])


def _commands(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the commands of a text, also if the text is HTML or a string inside of JSON."""
    for command in _COMMAND.finditer(text):
        if command[3]:
            yield "SAY", command[4].strip()
            continue
        rest = text[command.end() :]
        for written in (rest, html.unescape(rest), rest.replace("\\", "")):
            try:
                arguments, _ = json.JSONDecoder().raw_decode(written)
            except ValueError:
                continue
            yield "CALL", (command[2], arguments)
            break


def _script(chat: Chat) -> list[tuple[str, str]] | None:
    """Return the steps of the script for this request, or None if there is no script.

    The steps of one request end with `USE`. The requests before this one are counted by their
    messages with tool calls, after the message with the script; in a request that offers no tools,
    by the texts of the room about them.
    """
    for position in range(len(chat.messages) - 1, -1, -1):
        message = chat.messages[position]
        steps = _STEP.findall(str(message.get("content")))
        if message.get("role") == "user" and steps:
            break
    else:
        return None
    later = chat.messages[position:]
    number = sum(bool(message.get("tool_calls")) for message in later)
    number = max([number, *(int(written[1]) for written in written_calls(later))])
    ends = [0, *(index + 1 for index, (kind, _) in enumerate(steps) if kind == "USE"), len(steps)]
    if number >= len(ends) - 1:
        return []
    return steps[ends[number] : ends[number + 1]]


async def _play(chat: Chat, steps: list[tuple[str, str]]) -> None:
    """Carry out the steps of one request; without `USE` or text, answer with the results."""
    said = False
    for kind, value in steps:
        if kind == "USE":
            await chat.call_tools(list(_parse_calls(value)))
            return
        if kind == "FAIL":
            if chat.first:
                await _fail(chat, int(value))
                return
        else:
            await _STEPS[kind](chat, value)
            said = said or kind == "TEXT"
    if not said:
        results = " | ".join(chat.tool_results)
        await chat.send_text(chunks(f"The tools said: {results}"), finish=None)
    await chat.finish("stop")


async def _text(chat: Chat, words: str) -> None:
    await chat.send_text(chunks(words + " "), finish=None)


async def _think(chat: Chat, words: str) -> None:
    await chat.send_delta({"reasoning_content": words})


async def _wait(_chat: Chat, seconds: str) -> None:
    await asyncio.sleep(float(seconds))


async def _hold(chat: Chat, _: str) -> None:
    await chat.released.wait()


_STEPS: Final[dict[str, Callable[[Chat, str], Awaitable[None]]]] = {
    "TEXT": _text,
    "THINK": _think,
    "WAIT": _wait,
    "HOLD": _hold,
}


async def _fail(chat: Chat, status: int) -> None:
    if chat.response.chunks:
        chat.response.reset()
    else:
        await chat.response.json(status, {"error": {"message": "busy"}})


def _parse_calls(text: str) -> Iterator[Call]:
    """Yield the calls of `USE look {"a": 1} & find {}`."""
    while text:
        name, _, rest = text.partition(" ")
        arguments, end = json.JSONDecoder().raw_decode(rest)
        yield name, arguments
        text = rest[end:].strip(" &")
