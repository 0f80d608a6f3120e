"""Measure, print the tables, and write each part as JSON and as Markdown.

Without PART all parts run; `breakdown` only runs then if a goal of `overhead` was missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench import parts
from tests.bench.report import chart, machine
from tests.bench.report.machine import Facts
from tests.bench.report.table import Part, as_table, write_part
from tests.bench.resources import Resources
from tests.live import ROOT


def main() -> None:
    """Measure the requested parts, and print and write each of them as soon as it is measured."""
    known = parts.available()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"one of {', '.join(known)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "var" / "bench",
        metavar="FOLDER",
        help="default: var/bench",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.part) - set(known):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    facts = machine.describe()
    measured: list[Part] = []
    try:
        _measure(arguments.part or known, arguments, facts, measured)
    finally:  # an error in one part must not lose the figures of the others
        if measured:
            print(as_table(facts, measured))


def _measure(
    requested: Sequence[str], arguments: argparse.Namespace, facts: Facts, measured: list[Part]
) -> None:
    """Add each part to `measured` and write its files as soon as it is measured."""
    out: Path = arguments.out
    with tempfile.TemporaryDirectory(prefix="maru-bench-") as folder, ExitStack() as stack:
        resources = Resources(Path(folder), stack, quick=arguments.quick)
        for name in parts.available():
            if name not in requested:
                continue
            if name == "breakdown" and not arguments.part and not _overhead_missed_a_goal(measured):
                continue
            measured.append(_measure_part(name, resources))
            write_part(out, facts, measured)
            if name == "fanout":
                drawing = chart.draw(measured[-1].figures, facts)
                (out / "fanout.svg").write_text(drawing, encoding="utf-8")


def _measure_part(name: str, resources: Resources) -> Part:
    print(f"Measuring {name} …", file=sys.stderr, flush=True)
    began = time.monotonic()
    measure = parts.load(name)
    with machine.watched() as noise:
        figures = measure(resources)
    seconds = time.monotonic() - began
    print(f"Measured {name} in {seconds:.0f} s.", file=sys.stderr, flush=True)
    return Part(name, figures, noise, seconds, quick=resources.quick)


def _overhead_missed_a_goal(measured: Sequence[Part]) -> bool:
    return any(f.missed for part in measured if part.name == "overhead" for f in part.figures)


if __name__ == "__main__":
    main()
