"""How the stub's models answer; a model is chosen by its name.

Plain: echo, echo-prompt, canary, canary-held@20, tokens-200@50, stamped-300@50, held-5,
slow-first-2, story-review, tools, tools-loop, length, reasoning, usage-always, usage-odd-huge.
Faults: fault-429 (any status; `-once`, `-retry-2`), fault-401, fault-reset-after-5, fault-hang,
fault-truncated, fault-drip@10, fault-endless, fault-garbage-SHAPE and more: see MODELS.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

from tests.provider import faults
from tests.provider.http import Asked, Reply
from tests.provider.stories import PAUSE, STORIES
from tests.provider.stream import STOP, Chat, pieces

Model = Callable[[Chat], Awaitable[None]]


async def echo(chat: Chat) -> None:
    """Say the last user message again."""
    await chat.say(pieces(chat.question))


async def echo_prompt(chat: Chat) -> None:
    """Say the whole prompt: what is not in it cannot leak."""
    await chat.say(pieces(chat.prompt, size=64))


async def canary(chat: Chat) -> None:
    """`canary@400`: say the question's canary forty times, numbered: mixing and reordering show."""
    (rate,) = chat.numbers(400)
    await chat.say(canaries(chat), rate=rate)


async def canary_held(chat: Chat) -> None:
    """`canary-held@20`: say five of them, and the rest once the test says `release`."""
    (rate,) = chat.numbers(20)
    words = canaries(chat)
    await chat.say(words[:5], rate=rate, finish=None)
    await chat.released.wait()
    await chat.say(words[5:], rate=rate)


def canaries(chat: Chat) -> list[str]:
    found = re.findall(r"CANARY-[\w-]+", chat.question)
    name = found[-1] if found else "CANARY-none"
    return [f"{name}:{n} " for n in range(40)]


async def tokens(chat: Chat) -> None:
    """`tokens-200@50`: two hundred tokens, fifty a second (without @: at once)."""
    count, rate = chat.numbers(200, 0)
    await chat.say((f"t{n} " for n in range(int(count))), rate=rate)


async def stamped(chat: Chat) -> None:
    """`stamped-300@50`: each token says when it was sent, by the clock of the whole machine."""
    count, rate = chat.numbers(300, 50)
    began = time.monotonic()
    for number in range(int(count)):
        await chat.pause(began + number / rate - time.monotonic())
        await chat.delta({"content": f"{time.monotonic_ns()} "})
    await chat.finish("stop")


async def held(chat: Chat) -> None:
    """`held-5@20`: five tokens, then nothing until the test says `release`, then five more."""
    number, rate = chat.numbers(5, 0)
    await chat.say((f"t{n} " for n in range(int(number))), rate=rate, finish=None)
    await chat.released.wait()
    await chat.say((f"t{n} " for n in range(int(number), 2 * int(number))), rate=rate)


async def story(chat: Chat) -> None:
    """`story-review`: one of STORIES; at its pause it waits until somebody says `release`."""
    begin, _pause, end = STORIES[chat.model.removeprefix("story-")].partition(PAUSE)
    await chat.say(pieces(begin), rate=120, finish=None)
    if end:
        await chat.released.wait()
    await chat.say(pieces(end))


async def slow_first(chat: Chat) -> None:
    """`slow-first-2`: think for two seconds, then answer."""
    (seconds,) = chat.numbers(2)
    await chat.pause(seconds)
    await chat.say(["thought ", "about ", "it"])


async def tools(chat: Chat) -> None:
    """Call the first tool on offer once, then answer with what it gave."""
    if chat.tool_results:
        await chat.say(pieces(f"The tool said: {chat.tool_results[-1]}"))
    elif chat.tool_names:
        await chat.say(["Let me look. "], finish=None)
        await chat.call_tool(chat.tool_names[0], {"text": "hello"})
    else:
        await chat.say(["no tools here"])


async def tools_loop(chat: Chat) -> None:
    """Call the first tool for ever."""
    await chat.call_tool(chat.tool_names[0], {"text": f"again {len(chat.tool_results)}"})


async def length(chat: Chat) -> None:
    """Stop in the middle because of the token limit."""
    await chat.say(["as ", "far ", "as "], finish="length")


async def filtered(chat: Chat) -> None:
    """Stop in the middle because of a content filter."""
    await chat.say(["well "], finish="content_filter")


async def reasoning(chat: Chat) -> None:
    """Think aloud in the field that several providers have for it, then answer."""
    for piece in ("hmm ", "let me see "):
        await chat.delta({"reasoning_content": piece})
    await chat.say(["the ", "answer"])


async def usage_with_finish(chat: Chat) -> None:
    """Count the tokens in the event that ends the answer, as several providers do."""
    await chat.say(["four ", "words ", "in ", "all"], finish=None)
    await chat.event({"choices": [STOP], "usage": chat.usage()})
    await chat.raw(b"data: [DONE]\n\n")
    await chat.reply.end()


async def usage_always(chat: Chat) -> None:
    """Count the tokens so far in every event, text and all."""
    for word in ("four ", "words ", "in ", "all"):
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        await chat.event({"choices": [choice], "usage": chat.usage()})
    await chat.finish("stop")


async def usage_odd(chat: Chat) -> None:
    """`usage-odd-negative`: count what cannot be."""
    counts = {"huge": 3_000_000_000, "beyond": 2**70, "negative": -1, "word": "many", "list": [1]}
    count = counts[chat.model.removeprefix("usage-odd-")]
    await chat.say(["four ", "words ", "in ", "all"], finish=None)
    usage = {"prompt_tokens": count, "completion_tokens": count, "total_tokens": count}
    await chat.event({"choices": [STOP], "usage": usage})
    await chat.raw(b"data: [DONE]\n\n")
    await chat.reply.end()


MODELS: dict[str, Model] = {
    "echo": echo,
    "echo-prompt": echo_prompt,
    "canary": canary,
    "canary-held": canary_held,
    "tokens": tokens,
    "stamped": stamped,
    "held": held,
    "story": story,
    "slow-first": slow_first,
    "tools": tools,
    "tools-loop": tools_loop,
    "length": length,
    "filtered": filtered,
    "reasoning": reasoning,
    "usage-with-finish": usage_with_finish,
    "usage-always": usage_always,
    "usage-odd": usage_odd,
    "fault-401": faults.status,
    "fault-404": faults.status,
    "fault-429": faults.status,
    "fault-500": faults.status,
    "fault-redirect": faults.redirect,
    "fault-reset-after": faults.reset_after,
    "fault-cut-after": faults.cut_after,
    "fault-garbage": faults.garbage,
    "fault-truncated": faults.truncated,
    "fault-drip": faults.drip,
    "fault-keepalive": faults.keepalive,
    "fault-endless": faults.endless,
    "fault-endless-event": faults.endless_event,
    "fault-endless-bytes": faults.endless_bytes,
    "fault-endless-tool": faults.endless_tool,
    "fault-empty": faults.empty,
    "fault-blank": faults.blank,
    "fault-1mb": faults.megabyte,
    "fault-hang": faults.hang,
    "fault-hang-after": faults.hang_after,
    "fault-html": faults.html,
    "fault-json": faults.plain_json,
    "fault-error": faults.error_in_stream,
}


def find(name: str) -> Model | None:
    """Return the model of that name, without the numbers and words that tune it."""
    if re.match(r"fault-\d{3}(-|$)", name):
        return faults.status
    known = [known for known in MODELS if re.match(rf"{known}(?![a-z])", name)]
    return MODELS[max(known, key=len)] if known else None


async def answer(asked: Asked, reply: Reply, *, first: bool, released: asyncio.Event) -> None:
    """Answer one call of the chat endpoint the way its model does."""
    chat = Chat(asked.json(), asked.bearer, reply, first=first, released=released)
    if asked.bearer.startswith("refused"):
        await faults.refuse_key(chat)
    elif model := find(chat.model):
        await model(chat)
    else:
        error = {"code": "model_not_found", "message": f"No model {chat.model}"}
        await reply.json(404, {"error": error})


async def list_models(asked: Asked, reply: Reply) -> None:
    """Answer `/v1/models`; a key that begins with `refused` is refused here too."""
    if asked.bearer.startswith("refused"):
        await reply.json(401, {"error": {"message": f"Bad key {asked.bearer}"}})
        return
    await reply.json(200, {"object": "list", "data": [{"id": name} for name in MODELS]})
