"""The models of the stub provider. The name of a model selects its function in MODELS.

The numbers in a name are its parameters: `tokens-200@50` sends 200 tokens at 50 per second.
README.md lists the models; `faults` has the models that misbehave.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from itertools import islice

from tests.provider import faults, tool_models
from tests.provider.chat import STOP, Chat, chunks
from tests.provider.http import HttpRequest, ResponseWriter
from tests.provider.samples import PAUSE, SAMPLES

Model = Callable[[Chat], Awaitable[None]]


async def echo(chat: Chat) -> None:
    """Answer with the last user message."""
    await chat.send_text(chunks(chat.question))


async def echo_held(chat: Chat) -> None:
    """Answer with the last user message, and with a last word after `Provider.release`."""
    await chat.send_text([*chunks(chat.question), "\n\n"], finish=None)
    await chat.released.wait()
    await chat.send_text(["end"])


async def echo_prompt(chat: Chat) -> None:
    """Answer with the whole prompt."""
    await chat.send_text(chunks(chat.prompt, size=64))


async def canary(chat: Chat) -> None:
    """`canary@400`: repeat the canary of the question forty times, with numbers.

    This lets a test detect mixed and reordered deltas.
    """
    (rate,) = chat.numbers(400)
    await chat.send_text(canaries(chat), rate=rate)


async def canary_held(chat: Chat) -> None:
    """`canary-held@20`: ten canaries, and the other 30 after `Provider.release`."""
    (rate,) = chat.numbers(20)
    words = canaries(chat)
    await chat.send_text(words[:10], rate=rate, finish=None)
    await chat.released.wait()
    await chat.send_text(words[10:], rate=rate)


def canaries(chat: Chat) -> list[str]:
    found = re.findall(r"CANARY-[\w-]+", chat.question)
    name = found[-1] if found else "CANARY-none"
    return [f"{name}:{n} " for n in range(40)]


async def tokens(chat: Chat) -> None:
    """`tokens-200@50`: 200 tokens at 50 per second (without @: as fast as possible)."""
    count, rate = chat.numbers(200, 0)
    await chat.send_text((f"t{n} " for n in range(int(count))), rate=rate)


async def stamped(chat: Chat) -> None:
    """`stamped-300@50`: each token is the value of `time.monotonic_ns` at which it was sent."""
    count, rate = chat.numbers(300, 50)
    started_at = time.monotonic()
    for number in range(int(count)):
        await asyncio.sleep(started_at + number / rate - time.monotonic())
        await chat.send_delta({"content": f"{time.monotonic_ns()} "})
    await chat.finish("stop")


async def held(chat: Chat) -> None:
    """`held-5@20`: five tokens, and five more after `Provider.release`."""
    number, rate = chat.numbers(5, 0)
    await chat.send_text((f"t{n} " for n in range(int(number))), rate=rate, finish=None)
    await chat.released.wait()
    await chat.send_text((f"t{n} " for n in range(int(number), 2 * int(number))), rate=rate)


async def sample(chat: Chat) -> None:
    """`sample-review`: one of SAMPLES; it pauses at PAUSE until `Provider.release`.

    A number behind the name makes several models of one sample.
    """
    name = re.sub(r"-\d+$", "", chat.model.removeprefix("sample-"))
    begin, _pause, end = SAMPLES[name].partition(PAUSE)
    await chat.send_text(chunks(begin), rate=120, finish=None)
    if end:
        await chat.released.wait()
    await chat.send_text(chunks(end))


async def markdown(chat: Chat) -> None:
    """`markdown-3000@100`: a long answer with all kinds of Markdown, in 3000 chunks.

    A third number makes several models of one answer.
    """
    count, rate = chat.numbers(3000, 100)
    text = SAMPLES["markdown"].replace(PAUSE, "") + "\n"
    words = chunks(text * (1 + 4 * int(count) // len(text)))
    await chat.send_text(islice(words, int(count)), rate=rate)


async def slow_first(chat: Chat) -> None:
    """`slow-first-2`: two seconds until the first token."""
    (seconds,) = chat.numbers(2)
    await asyncio.sleep(seconds)
    await chat.send_text(["thought ", "about ", "it"])


async def length(chat: Chat) -> None:
    """Finish early with the reason `length`."""
    await chat.send_text(["as ", "far ", "as "], finish="length")


async def filtered(chat: Chat) -> None:
    """Finish early with the reason `content_filter`."""
    await chat.send_text(["well "], finish="content_filter")


async def reasoning(chat: Chat) -> None:
    """Send reasoning in the field `reasoning_content`, which several providers use, then answer."""
    for piece in ("hmm ", "let me see "):
        await chat.send_delta({"reasoning_content": piece})
    await chat.send_text(["the ", "answer"])


async def usage_with_finish(chat: Chat) -> None:
    """Send the usage in the event with the finish reason, as several providers do."""
    await chat.send_text(["four ", "words ", "in ", "all"], finish=None)
    await chat.send_event({"choices": [STOP], "usage": chat.usage()})
    await chat.send_bytes(b"data: [DONE]\n\n")
    await chat.response.end()


async def usage_always(chat: Chat) -> None:
    """Send the usage so far in every event, also in events with text."""
    for word in ("four ", "words ", "in ", "all"):
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        await chat.send_event({"choices": [choice], "usage": chat.usage()})
    await chat.finish("stop")


async def usage_odd(chat: Chat) -> None:
    """`usage-odd-negative`: an invalid token count."""
    counts = {"huge": 3_000_000_000, "beyond": 2**70, "negative": -1, "word": "many", "list": [1]}
    count = counts[chat.model.removeprefix("usage-odd-")]
    await chat.send_text(["four ", "words ", "in ", "all"], finish=None)
    usage = {"prompt_tokens": count, "completion_tokens": count, "total_tokens": count}
    await chat.send_event({"choices": [STOP], "usage": usage})
    await chat.send_bytes(b"data: [DONE]\n\n")
    await chat.response.end()


MODELS: dict[str, Model] = {
    "echo": echo,
    "echo-held": echo_held,
    "echo-prompt": echo_prompt,
    "canary": canary,
    "canary-held": canary_held,
    "tokens": tokens,
    "stamped": stamped,
    "held": held,
    "sample": sample,
    "markdown": markdown,
    "slow-first": slow_first,
    "obedient": tool_models.obedient,
    "rounds": tool_models.rounds,
    "tools": tool_models.tools,
    "tools-required": tool_models.tools_required,
    "tools-loop": tool_models.tools_loop,
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
    """Return the model whose key in MODELS is the longest prefix of `name`."""
    if re.match(r"fault-\d{3}(-|$)", name):
        return faults.status
    keys = [key for key in MODELS if re.match(rf"{key}(?![a-z])", name)]
    return MODELS[max(keys, key=len)] if keys else None


async def answer(
    request: HttpRequest, response: ResponseWriter, *, first: bool, released: asyncio.Event
) -> None:
    """Answer a request to the chat endpoint; refuse a key that starts with `refused`."""
    chat = Chat(request.json(), request.bearer, response, first=first, released=released)
    if request.bearer.startswith("refused"):
        await faults.refuse_key(chat)
    elif model := find(chat.model):
        await model(chat)
    else:
        error = {"code": "model_not_found", "message": f"No model {chat.model}"}
        await response.json(404, {"error": error})


async def list_models(request: HttpRequest, response: ResponseWriter) -> None:
    """Answer `/v1/models`; refuse a key that starts with `refused`."""
    if request.bearer.startswith("refused"):
        await response.json(401, {"error": {"message": f"Bad key {request.bearer}"}})
        return
    await response.json(200, {"object": "list", "data": [{"id": name} for name in MODELS]})
