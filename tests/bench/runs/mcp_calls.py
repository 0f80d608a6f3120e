"""What a call of a tool of an MCP server takes in an open session, beyond the server's own time.

`python -m tests.bench.runs.mcp_calls serve` runs the server, and `… call URL` measures the client,
each in a process of its own.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from typing import Any, Final
from uuid import UUID

from tests.bench.report.figures import Figure, of_rounds, percentile
from tests.bench.resources import Resources
from tests.live import ROOT

MODULE: Final = "tests.bench.runs.mcp_calls"
CALLS: Final = 300
WARM: Final = 20
NOTE: Final = (
    f"{CALLS} calls, one at a time, of a tool that returns at once, in one session with a server "
    "made with the SDK; the p50 of the time from request to response inside the server is "
    "subtracted."
)


def measure(resources: Resources) -> list[Figure]:
    """Measure the time of a call, beyond the server's own."""
    rounds = [_round() for _ in range(1 if resources.quick else 3)]
    beyond = [[each["call"] - each["server"]] for each in rounds]
    opened = [[each["open"]] for each in rounds]
    return [
        of_rounds("a call of an MCP tool, p50", beyond, "ms", goal=15, note=NOTE),
        of_rounds("opening a session and listing 7 tools", opened, "ms"),
    ]


def _round() -> dict[str, float]:
    server = _start("serve", stdin=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    with server, closing(server.stdin):
        port = int(server.stdout.readline())
        client = _start("call", str(port))
        output, _ = client.communicate()
        server.stdin.close()
        times = json.loads(server.stdout.readline())
    # The first requests open the session.
    return {**json.loads(output), "server": percentile(times[-CALLS:], 0.5)}


def _start(*arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, *arguments],
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
    )


def _serve() -> None:
    """Run the server until standard input ends; write its port, then the times of its requests."""
    from starlette.types import Receive, Scope, Send

    from tests.mcp.good import make_server
    from tests.mcp.servers import Running, serve

    running = Running()
    app = make_server(running).streamable_http_app()
    times: list[float] = []

    async def timed(scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        await app(scope, receive, send)
        if scope["type"] == "http" and scope["method"] == "POST":
            times.append((time.perf_counter() - began) * 1_000)

    with serve(timed, running):
        print(running.port, flush=True)
        sys.stdin.read()
    print(json.dumps(times), flush=True)


async def _call(port: str) -> dict[str, float]:
    from agents.mcp.client import Session

    session = Session(url=f"http://127.0.0.1:{port}/mcp", team=UUID(int=1))
    began = time.perf_counter()
    await session.open()
    await session.list_tools()
    opened = (time.perf_counter() - began) * 1_000
    times: list[float] = []
    for _ in range(WARM + CALLS):
        began = time.perf_counter()
        await session.call("echo", {"text": "hello"})
        times.append((time.perf_counter() - began) * 1_000)
    await session.close()
    return {"open": opened, "call": percentile(times[WARM:], 0.5)}


def main(role: str, *arguments: Any) -> None:
    """Run one of the two processes."""
    if role == "serve":
        _serve()
        return
    os.environ["MARU_EGRESS_ALLOW"] = f"127.0.0.1:{arguments[0]}"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
    import django

    django.setup()
    print(json.dumps(asyncio.run(_call(arguments[0]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
