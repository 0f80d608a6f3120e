"""What we add to the time to the first text of a model, against its library called by hand."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Final

import uvloop

from tests.bench.latency.asking import ask
from tests.bench.report.figures import Figure, of_rounds
from tests.bench.resources import Stage, Warm
from tests.deadlines import DEADLINE
from tests.live import ROOT

NAME: Final = "our overhead on the first token"
ROUNDS: Final = 3
SENDS: Final = 15
WARM_UP: Final = 5
FULL: Final = 20
"""Answers after which a room fills a prompt: requests no longer grow, and all compare alike."""
NOTE: Final = (
    "message.send to the first message.delta at the same socket, minus the openai library with the "
    "same request to the same stub, asked in turn, one at a time."
)

Ask = Callable[[], Awaitable[float]]
Samples = dict[str, list[float]]


def measure(stage: Stage) -> list[Figure]:
    """Ask Maru, the engine alone and the library in turn, and take the difference."""
    rounds = uvloop.run(_rounds(stage.warm, stage.provider))
    ours = [[median(samples["maru"]) - median(samples["sdk"])] for samples in rounds]
    return [
        of_rounds(NAME, ours, "ms", goal=15, note=NOTE),
        of_rounds("Maru, send to first delta", [samples["maru"] for samples in rounds], "ms"),
        of_rounds("the engine alone", [samples["engine"] for samples in rounds], "ms"),
        of_rounds("the openai library", [samples["sdk"] for samples in rounds], "ms"),
    ]


async def _rounds(warm: Warm, provider: str) -> list[Samples]:
    room = warm.provided
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(warm.installation.socket(room.members[0]))
        await socket.join(room.id)
        asks: dict[str, Ask] = {"maru": lambda: ask(socket, room.id)}
        await _round(asks, FULL)
        request = await asyncio.to_thread(_last_request, provider)
        for what in ("engine", "sdk"):
            asks[what] = await stack.enter_async_context(_direct(what, provider, request))
        await _round(asks, WARM_UP)  # the first of each kind is slower than all others
        return [await _round(asks, SENDS) for _ in range(ROUNDS)]


async def _round(asks: dict[str, Ask], times: int) -> Samples:
    samples: Samples = {what: [] for what in asks}
    for _ in range(times):
        for what, ask_once in asks.items():
            samples[what].append(await ask_once())
    return samples


def _last_request(provider: str) -> bytes:
    """Return the body of the last request that the stub was sent, on one line."""
    address = f"{provider.removesuffix('/v1')}/_stub/requests"
    with urllib.request.urlopen(address, timeout=DEADLINE) as response:
        return json.dumps(json.load(response)[-1]).encode() + b"\n"


@asynccontextmanager
async def _direct(what: str, provider: str, request: bytes) -> AsyncIterator[Ask]:
    """Run `tests.bench.latency.direct_request`, and yield how to have it ask once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.latency.direct_request", what, provider),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    requests, times = process.stdin, process.stdout
    assert requests is not None
    assert times is not None

    async def ask_once() -> float:
        requests.write(request)
        return float(await times.readline())

    try:
        yield ask_once
    finally:
        requests.close()
        await process.wait()
