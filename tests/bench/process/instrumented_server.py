"""`maru.server` with one more path, which returns a measurement from inside the process.

    python -m tests.bench.process.instrumented_server lags|modules|trace

GET /bench/lags     seconds of lag of the event loop during the import of CrewAI, after its end
GET /bench/modules  number of imported modules of CrewAI
GET /bench/trace    times of `tests.bench.latency.trace_points` since the last request
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

INTERVAL: Final = 0.005

Measurement = Callable[[], Awaitable[object]]


class MeasurementPath:
    """An ASGI application that answers one path and passes all else to the original one."""

    def __init__(self, app: Any, path: str, measure: Measurement) -> None:
        self._app = app
        self._path = path
        self._measure = measure

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        body = msgspec.json.encode(await self._measure())
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def watch_import() -> Measurement:
    """Measure the lag of the event loop during `engine.warm`."""
    from agents import engine

    warm = engine.warm
    lags: list[float] = []
    imported = asyncio.Event()

    async def watch() -> None:
        while not imported.is_set():
            # Not loop.time(): uvloop updates it once per iteration, in whole milliseconds.
            due = time.perf_counter() + INTERVAL
            await asyncio.sleep(INTERVAL)
            lags.append(time.perf_counter() - due)

    async def watched_warm() -> None:
        watching = asyncio.create_task(watch())
        await warm()
        imported.set()
        await watching

    async def result() -> object:
        await imported.wait()
        return lags

    engine.warm = watched_warm
    return result


async def count_modules() -> object:
    """Return the number of imported modules of CrewAI."""
    return sum(name.partition(".")[0] in {"crewai", "crewai_core"} for name in sys.modules)


def trace() -> Measurement:
    """Install the trace points."""
    from tests.bench.latency import trace_points

    return trace_points.install()


def main(name: str) -> None:
    """Start the server as its own module does, with the additional path."""
    from maru.server import asgi, process
    from maru.server.lifespan import Lifespan

    measurements: dict[str, Callable[[], Measurement]] = {
        "lags": watch_import,
        "modules": lambda: count_modules,
        "trace": trace,
    }
    app = MeasurementPath(asgi.application.app, f"/bench/{name}", measurements[name]())
    asgi.application = Lifespan(app, *asgi.application.companions)
    process.main()


if __name__ == "__main__":
    main(sys.argv[1])
