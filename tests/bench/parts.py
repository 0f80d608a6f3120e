"""The parts of the bench by name.

A part is a module with `measure(resources)`, which returns its figures. It measures less with
`resources.quick`. Its figures, their goals and how to read them are the subject of that module.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from tests.bench.report.figures import Figure
from tests.bench.resources import Resources

Measure = Callable[[Resources], Sequence[Figure]]

# In the order of a run. Memory is measured before the parts that give thousands of answers.
PARTS: Final = {
    "startup": "tests.bench.process.startup",
    "lag": "tests.bench.process.import_lag",
    "memory": "tests.bench.process.memory",
    "delta": "tests.bench.latency.first_delta",
    "overhead": "tests.bench.latency.overhead",
    "fanout": "tests.bench.fanout.streaming",
    "connections": "tests.bench.fanout.connections",
    "joins": "tests.bench.fanout.joins",
    "breakdown": "tests.bench.latency.breakdown",
    "browser": "tests.bench.pages.browser",
    "runs": "tests.bench.runs.production",
    "starts": "tests.bench.runs.starts",
    "tools": "tests.bench.runs.tools",
    "decisions": "tests.bench.runs.decisions",
    "waiting": "tests.bench.runs.waiting",
    "page": "tests.bench.pages.page",
    "team": "tests.bench.pages.team",
    "capacity": "tests.bench.capacity.measured",
}


def available() -> list[str]:
    """Return the names of the parts that this checkout has, in the order of a run."""
    return [name for name, module in PARTS.items() if _exists(module)]


def load(name: str) -> Measure:
    """Import the module of a part and return its function `measure`."""
    measure: Measure = import_module(PARTS[name]).measure
    return measure


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package does not exist either
        return False
