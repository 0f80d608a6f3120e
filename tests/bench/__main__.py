"""Measure, print the table, and write it as JSON; `fanout` also writes a chart.

Without PART all parts run; `breakdown` only runs then if a goal of `overhead` was missed.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.bench.fanout import connections, joins, streaming
from tests.bench.latency import breakdown, first_delta, overhead
from tests.bench.process import import_lag, memory, startup
from tests.bench.report import chart, machine
from tests.bench.report.figures import Figure
from tests.bench.report.table import Part, as_table, write_json
from tests.bench.resources import Resources
from tests.bench.runs import production
from tests.live import ROOT

Measure = Callable[[Resources], Sequence[Figure]]

# Memory is measured before the parts that give thousands of answers.
PARTS: Final[dict[str, Measure]] = {
    "startup": startup.measure,
    "lag": import_lag.measure,
    "memory": memory.measure,
    "delta": first_delta.measure,
    "overhead": overhead.measure,
    "fanout": streaming.measure,
    "connections": connections.measure,
    "joins": joins.measure,
    "breakdown": breakdown.measure,
    "runs": production.measure,
}


def main() -> None:
    """Measure the requested parts, print the table and write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"one of {', '.join(PARTS)}; default: all")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "var" / "bench.json",
        metavar="FILE",
        help="default: var/bench.json",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.part) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    facts = machine.describe()
    parts: list[Part] = []
    try:
        _measure(arguments.part, parts)
    finally:  # an error in one part must not lose the figures of the others
        if parts:
            _write(facts, parts, arguments.out)


def _write(facts: dict[str, str | int | float], parts: Sequence[Part], out: Path) -> None:
    print(as_table(facts, parts))
    write_json(out, facts, parts)
    if fanout := [part for part in parts if part.name == "fanout"]:
        drawing = chart.draw(fanout[0].figures, facts)
        out.with_suffix(".svg").write_text(drawing, encoding="utf-8")


def _measure(requested: Sequence[str], parts: list[Part]) -> None:
    """Add each part to `parts` as soon as it is measured."""
    with tempfile.TemporaryDirectory(prefix="maru-bench-") as folder, ExitStack() as stack:
        resources = Resources(Path(folder), stack)
        for name, measure in PARTS.items():
            is_default = name != "breakdown" or _overhead_missed_a_goal(parts)
            if name in requested or (not requested and is_default):
                parts.append(_measure_part(name, measure, resources))


def _measure_part(name: str, measure: Measure, resources: Resources) -> Part:
    print(f"Measuring {name} …", file=sys.stderr, flush=True)
    with machine.watched() as noise:
        figures = measure(resources)
    return Part(name, figures, noise)


def _overhead_missed_a_goal(parts: Sequence[Part]) -> bool:
    return any(f.missed for part in parts if part.name == "overhead" for f in part.figures)


if __name__ == "__main__":
    main()
