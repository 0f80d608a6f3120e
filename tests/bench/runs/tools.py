"""What answers with tools cost: CPU per chunk, and the time that a round of tools adds."""

import json
import subprocess
import sys
from typing import Any, Final

from tests.bench.report.figures import Figure, of_rounds, percentile
from tests.bench.resources import Resources
from tests.bench.runs import mcp_calls
from tests.live import ROOT

LIBRARIES: Final = ("sdk", "engine")
STREAMED: Final = "rounds-2-100@50"
STREAMS: Final = 30
ROUNDS_ONLY: Final = "rounds-7-0"
ANSWERS: Final = 30
COST_NOTE: Final = (
    f"{STREAMS} answers at once, each of three requests with 100 chunks and of two tool calls; the "
    "tool returns at once, and the journal stores nothing."
)
ROUND_NOTE: Final = (
    "from the provider's last event of a request to the provider's receipt of the next one, on the "
    "provider's clock: reading the call, executing a tool that returns at once, a new connection. "
    "One answer at a time."
)


def measure(resources: Resources) -> list[Figure]:
    """Measure the engine and the library in turn."""
    rounds = range(1 if resources.quick else 3)
    costs: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    times: dict[str, list[list[float]]] = {library: [] for library in LIBRARIES}
    for _ in rounds:
        for library in LIBRARIES:
            costs[library].append(_run(library, resources.provider, STREAMED, STREAMS)["cpu"])
            alone = _run(library, resources.provider, ROUNDS_ONLY, 1)
            times[library].append(alone["times"])
    ratios = [[engine / sdk] for sdk, engine in zip(*costs.values(), strict=True)]
    p99 = [[percentile(samples, 0.99)] for samples in times["engine"]]
    return [
        of_rounds(
            "CPU per chunk with tools, engine ÷ library", ratios, "×", goal=0.8, note=COST_NOTE
        ),
        of_rounds("CPU per chunk with tools, the library", [[c] for c in costs["sdk"]], "µs"),
        of_rounds("CPU per chunk with tools, the engine", [[c] for c in costs["engine"]], "µs"),
        of_rounds(
            "a round of tools, the engine, p50", times["engine"], "ms", goal=10, note=ROUND_NOTE
        ),
        of_rounds("a round of tools, the engine, p99", p99, "ms"),
        of_rounds("a round of tools, the library, p50", times["sdk"], "ms"),
        *mcp_calls.measure(resources),
    ]


def _run(library: str, provider: str, model: str, at_once: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.runs.tool_cost", library, provider, model]
    command += [str(ANSWERS), str(at_once)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
