"""Resident memory of a process after its first answers."""

import json
import urllib.request
from contextlib import ExitStack
from typing import Final

from tests.bench.report.figures import Figure
from tests.bench.resources import Resources, WarmServer, warm_up
from tests.cluster.harness.cluster import Worker
from tests.cluster.harness.resource_usage import memory_bytes
from tests.cluster.harness.services import missing_packages
from tests.deadlines import DEADLINE
from tests.live import Installation

EMBEDDED: Final = "RSS of the embedded process"
WEB: Final = "RSS of a production web process"
MODULES: Final = "imported modules of CrewAI"


def measure(resources: Resources) -> list[Figure]:
    """Measure the embedded process and a web process, each after its first answers."""
    embedded = _resident(EMBEDDED, resources.warm, goal=350)
    if absent := missing_packages():
        reason = f"not installed: {', '.join(absent)}"
        return [embedded, Figure(WEB, None, "MB", goal=100, note=reason)]
    with ExitStack() as stack:
        web = _web_process(resources, stack)
        return [
            embedded,
            _resident(WEB, web, goal=100),
            Figure(MODULES, _modules(web.installation), "modules", goal=0),
        ]


def _web_process(resources: Resources, stack: ExitStack) -> WarmServer:
    """Start a web process and a worker, and have personas answer in two rooms."""
    web = resources.production(
        "web",
        *("-m", "tests.bench.process.instrumented_server", "modules"),
        MARU_EGRESS_ALLOW=resources.provider_address,
    )
    worker = Worker(web.folder, web.env)
    stack.callback(worker.kill)
    worker.start()
    return warm_up(stack.enter_context(web), resources.provider)


def _resident(name: str, server: WarmServer, goal: float) -> Figure:
    """Return the resident memory of a server. A megabyte is 10^6 bytes."""
    resident, files = (memory_bytes(server.pid, field) / 1e6 for field in ("VmRSS", "RssFile"))
    note = f"{files:.0f} MB of these are file pages, which processes share."
    return Figure(name, resident, "MB", goal, note=note)


def _modules(web: Installation) -> int:
    with urllib.request.urlopen(f"{web.url}/bench/modules", timeout=DEADLINE) as response:
        return int(json.load(response))
