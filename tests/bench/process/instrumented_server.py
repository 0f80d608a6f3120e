"""`maru.server` with one more path, which returns a measurement from inside the process.

    python -m tests.bench.process.instrumented_server lags|modules|marks

GET /bench/lags     how late the loop was while CrewAI was imported; answers once that is done
GET /bench/modules  how many modules of CrewAI this process has imported
GET /bench/marks    when a message passed each of `tests.bench.latency.trace_points`
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

EVERY: Final = 0.005

Look = Callable[[], Awaitable[object]]


class Window:
    """An application that answers one path of ours and leaves the rest as it was."""

    def __init__(self, app: Any, path: str, look: Look) -> None:
        self._app = app
        self._path = path
        self._look = look

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        body = msgspec.json.encode(await self._look())
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def watch_import() -> Look:
    """Measure inside the loop itself, from when `engine.warm` is called until it returns."""
    from agents import engine

    warm = engine.warm
    lags: list[float] = []
    imported = asyncio.Event()

    async def watch() -> None:
        while not imported.is_set():
            # Not the loop's own clock: uvloop reads it once a turn, in whole milliseconds.
            due = time.perf_counter() + EVERY
            await asyncio.sleep(EVERY)
            lags.append(time.perf_counter() - due)

    async def watched_warm() -> None:
        watching = asyncio.create_task(watch())
        await warm()
        imported.set()
        await watching

    async def look() -> object:
        await imported.wait()
        return lags

    engine.warm = watched_warm
    return look


async def count_modules() -> object:
    """Count what is imported of CrewAI."""
    return sum(name.partition(".")[0] in {"crewai", "crewai_core"} for name in sys.modules)


def mark() -> Look:
    """Let the server note when a message passes."""
    from tests.bench.latency import trace_points

    return trace_points.put()


def main(what: str) -> None:
    """Start the server as its own module would, behind a window."""
    from maru.server import asgi, process
    from maru.server.lifespan import Lifespan

    looks: dict[str, Callable[[], Look]] = {
        "lags": watch_import,
        "modules": lambda: count_modules,
        "marks": mark,
    }
    window = Window(asgi.application.app, f"/bench/{what}", looks[what]())
    asgi.application = Lifespan(window, *asgi.application.companions)
    process.main()


if __name__ == "__main__":
    main(sys.argv[1])
