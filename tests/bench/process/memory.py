"""What a process holds in memory once it has worked."""

import json
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.bench.report.figures import Figure
from tests.bench.resources import Stage, Warm, warm
from tests.cluster.harness.services import missing
from tests.deadlines import DEADLINE
from tests.live import ROOT, Installation

EMBEDDED: Final = "RSS of the embedded process"
WEB: Final = "RSS of a production web process"
MODULES: Final = "modules of CrewAI in it"


def measure(stage: Stage) -> list[Figure]:
    """Look at the embedded process after its first answers, and at a web process after the same."""
    embedded = _resident(EMBEDDED, stage.warm, goal=350)
    if absent := missing():
        why = f"not installed: {', '.join(absent)}"
        return [embedded, Figure(WEB, None, "MB", goal=100, note=why)]
    with ExitStack() as stack:
        web = _web_process(stage, stack)
        return [
            embedded,
            _resident(WEB, web, goal=100),
            Figure(MODULES, _modules(web.installation), "modules", goal=0),
        ]


def _web_process(stage: Stage, stack: ExitStack) -> Warm:
    """Start one web process and one worker, and have them answer in two rooms."""
    web = stage.production(
        "web",
        *("-m", "tests.bench.process.instrumented_server", "modules"),
        MARU_EGRESS_ALLOW=stage.provider_address,
    )
    _start_worker(web, stack)
    return warm(stack.enter_context(web), stage.provider)


def _start_worker(web: Installation, stack: ExitStack) -> None:
    worker = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "runagents"], cwd=web.folder, env=web.env
    )
    stack.callback(worker.wait, DEADLINE)
    stack.callback(worker.terminate)


def _resident(name: str, server: Warm, goal: float) -> Figure:
    """Return the resident memory of a server in millions of bytes."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    sizes = {
        line.split()[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "Rss"))
    }
    resident, files = (int(sizes[size]) * 1024 / 1e6 for size in ("VmRSS:", "RssFile:"))
    note = f"{files:.0f} MB of it are files, which processes share."
    return Figure(name, resident, "MB", goal, note=note)


def _modules(web: Installation) -> int:
    with urllib.request.urlopen(f"{web.url}/bench/modules", timeout=DEADLINE) as response:
        return int(json.load(response))
