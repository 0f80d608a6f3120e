"""`python -m tests.bench [PART …] [--out FILE]`: measure, print the table, write JSON and chart."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.bench.fanout import connections as crowd
from tests.bench.fanout import joins as joining
from tests.bench.fanout import streaming
from tests.bench.latency import breakdown, overhead
from tests.bench.latency import first_delta as delta
from tests.bench.process import import_lag as lag
from tests.bench.process import memory
from tests.bench.process import startup as ready
from tests.bench.report import chart, machine
from tests.bench.report.figures import Figure
from tests.bench.report.table import Part, as_table, write_json
from tests.bench.resources import Stage
from tests.bench.runs import production as runs
from tests.live import ROOT

# In this order: memory is looked at before hours of answers.
PARTS: Final[dict[str, Callable[[Stage], Sequence[Figure]]]] = {
    "ready": ready.measure,
    "lag": lag.measure,
    "memory": memory.measure,
    "delta": delta.measure,
    "overhead": overhead.measure,
    "fanout": streaming.measure,
    "crowd": crowd.measure,
    "joining": joining.measure,
    "breakdown": breakdown.measure,
    "runs": runs.measure,
}


def main() -> None:
    """Measure what was asked for: by default everything, and the breakdown only if needed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench.json", metavar="FILE")
    arguments = parser.parse_args()
    if unknown := set(arguments.part) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    facts = machine.describe()
    parts: list[Part] = []
    try:
        _measure(arguments.part, parts)
    finally:  # what one part could not find out is no reason to lose the others
        if parts:
            _tell(facts, parts, arguments.out)


def _tell(facts: dict[str, str | int | float], parts: Sequence[Part], out: Path) -> None:
    print(as_table(facts, parts))
    write_json(out, facts, parts)
    if fanout := [part for part in parts if part.name == "fanout"]:
        drawing = chart.draw(fanout[0].figures, facts)
        out.with_suffix(".svg").write_text(drawing, encoding="utf-8")


def _measure(asked: Sequence[str], parts: list[Part]) -> None:
    """Add each part to `parts` as soon as it is measured."""
    with tempfile.TemporaryDirectory(prefix="maru-bench-") as folder, ExitStack() as stack:
        stage = Stage(Path(folder), stack)
        for name, measure in PARTS.items():
            if name in asked or (not asked and (name != "breakdown" or _is_needed(parts))):
                parts.append(_measure_part(name, measure, stage))


def _measure_part(name: str, measure: Callable[[Stage], Sequence[Figure]], stage: Stage) -> Part:
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    with machine.watched() as calm:
        figures = measure(stage)
    return Part(name, figures, calm)


def _is_needed(parts: Sequence[Part]) -> bool:
    """The breakdown is for a goal that was missed."""
    return any(f.missed for part in parts if part.name == "overhead" for f in part.figures)


if __name__ == "__main__":
    main()
