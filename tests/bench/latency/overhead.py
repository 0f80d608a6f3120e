"""What Maru adds to the time to the first text, compared with the provider's library."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Final

import uvloop

from tests.bench.latency.timed_ask import ask
from tests.bench.report.figures import Figure, of_rounds
from tests.bench.resources import Resources, WarmServer
from tests.deadlines import DEADLINE
from tests.live import ROOT

NAME: Final = "overhead on the first token"
ROUNDS: Final = 3
SENDS: Final = 15
WARM_UP: Final = 5
FILL: Final = 20
"""Answers after which the room fills the prompt, so that all later requests have the same size."""
NOTE: Final = (
    "the time from message.send to the first message.delta at the same socket, minus the time of "
    "the openai library for the same request to the same stub; asked in turn, one at a time."
)

Ask = Callable[[], Awaitable[float]]
Samples = dict[str, list[float]]


def measure(resources: Resources) -> list[Figure]:
    """Ask Maru, the engine and the library in turn, and subtract."""
    rounds = uvloop.run(_rounds(resources.warm, resources.provider))
    overhead = [[median(samples["maru"]) - median(samples["sdk"])] for samples in rounds]
    return [
        of_rounds(NAME, overhead, "ms", goal=15, note=NOTE),
        of_rounds("Maru, send to first delta", [samples["maru"] for samples in rounds], "ms"),
        of_rounds("the engine alone", [samples["engine"] for samples in rounds], "ms"),
        of_rounds("the openai library", [samples["sdk"] for samples in rounds], "ms"),
    ]


async def _rounds(warm: WarmServer, provider: str) -> list[Samples]:
    room = warm.provided
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(warm.installation.socket(room.members[0]))
        await socket.join(room.id)
        asks: dict[str, Ask] = {"maru": lambda: ask(socket, room.id)}
        await _round(asks, FILL)
        request = await asyncio.to_thread(_last_request, provider)
        for library in ("engine", "sdk"):
            asks[library] = await stack.enter_async_context(_direct(library, provider, request))
        await _round(asks, WARM_UP)  # the first request of each kind is the slowest
        return [await _round(asks, SENDS) for _ in range(ROUNDS)]


async def _round(asks: dict[str, Ask], times: int) -> Samples:
    samples: Samples = {what: [] for what in asks}
    for _ in range(times):
        for what, ask_once in asks.items():
            samples[what].append(await ask_once())
    return samples


def _last_request(provider: str) -> bytes:
    """Return the body of the last request to the stub as one line."""
    address = f"{provider.removesuffix('/v1')}/_stub/requests"
    with urllib.request.urlopen(address, timeout=DEADLINE) as response:
        return json.dumps(json.load(response)[-1]).encode() + b"\n"


@asynccontextmanager
async def _direct(library: str, provider: str, request: bytes) -> AsyncIterator[Ask]:
    """Run `direct_request` and yield a coroutine function that asks once and returns its time."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.latency.direct_request", library, provider),
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
