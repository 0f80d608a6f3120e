"""The published figures: the results in `tests/bench/results`, and the documents that show them.

`python -m tests.bench.report.published` copies the results of the last run from `var/bench` and
writes the blocks of the documents. A test compares the documents with the results.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench.capacity.model import ACTIVITIES, Costs, Habits, knee, needs
from tests.bench.report import chart
from tests.bench.report.figures import Figure
from tests.live import ROOT

RESULTS: Final = ROOT / "tests" / "bench" / "results"
CHART: Final = ROOT / "static" / "maru" / "bench.svg"
PEOPLE: Final = (1_000, 10_000, 100_000)


class Row(NamedTuple):
    """A line of the README: what it is, and the part and names of its figures."""

    label: str
    part: str
    figures: Sequence[str]


ROWS: Final = (
    Row(
        "CPU of a frame ÷ that of the bare limit: 1 room of 200, 100 rooms of 5, 1 room of 1,000",
        "fanout",
        [f"{name} Maru ÷ bare limit" for name in chart.WORKLOADS],
    ),
    Row(
        "CPU of a chunk in the tutorial's design ÷ that of Maru, in the same rooms",
        "fanout",
        [f"{name} tutorial ÷ Maru" for name in chart.WORKLOADS],
    ),
    Row(
        "from the worker to the sockets, p50, in the same rooms",
        "fanout",
        [f"{name} added latency, p50" for name in chart.WORKLOADS],
    ),
    Row(
        "from sending a question to the request at the provider, embedded and production",
        "starts",
        [
            "sent to provider asked, alone, embedded",
            "sent to provider asked, alone, production",
        ],
    ),
    Row(
        "the same with 100 questions at once on 2 workers, p50 and p99",
        "starts",
        [f"sent to provider asked, {share}, 100 at once" for share in ("p50", "p99")],
    ),
    Row(
        "CPU of a chunk in answers with tools ÷ that of the openai library",
        "tools",
        ["CPU per chunk with tools, engine ÷ library"],
    ),
    Row(
        "a round of tools; a call of an MCP tool beyond the server's time, p50",
        "tools",
        ["a round of tools, the engine, p50", "a call of an MCP tool, p50"],
    ),
    Row(
        "from the decision on a call to the first text of the answer that goes on, p50",
        "decisions",
        ["decision to first text, p50"],
    ),
    Row(
        "an idle cluster, with 0 and with 1,000 runs that wait for people",
        "waiting",
        ["idle, without waiting runs", "idle, 1,000 waiting runs"],
    ),
    Row(
        "CPU of the web process for a join in a storm of 1,000: into 1 room, into 100 rooms",
        "joins",
        [
            "W7 CPU per join, 1,000 joins of one room",
            "W7 CPU per join, 10 joins of each of 100 rooms",
        ],
    ),
    Row(
        "memory of an idle socket, and of a socket in a room of 2,000 members",
        "connections joins",
        ["W4 memory per idle socket", "W7 memory per socket in a room of 2,000 members"],
    ),
    Row(
        "home, room and people page in a team of 10,000 with 500 unread rooms of mine, p50",
        "page",
        ["home, p50", "room, p50", "people, p50"],
    ),
    Row(
        "changing the room by click, until its newest messages are shown, p50 and p99",
        "browser",
        ["change of room by click, p50", "change of room by click, p99"],
    ),
    Row(
        "four answers of Markdown at 100 chunks a second: CPU of the renderer, tasks over 50 ms",
        "browser",
        ["four answers, CPU of the renderer", "four answers, tasks over 50 ms"],
    ),
)

NOTES = {
    "¹": ("noise", "Other processes disturbed the machine."),
    "²": ("quick", "`--quick`: one round."),
}
"""The marks of a row: what a result of `report.table.write_part` says, and the sentence for it."""


def load(part: str) -> dict[str, Any]:
    """Return the published result of a part, as `report.table.write_part` has written it."""
    document: dict[str, Any] = json.loads((RESULTS / f"{part}.json").read_text(encoding="utf-8"))
    return document


def figures(part: str) -> dict[str, Figure]:
    """Return the published figures of a part by name."""
    names = Figure.__dataclass_fields__
    return {
        each["name"]: Figure(**{name: each[name] for name in names})
        for each in load(part)["figures"]
    }


def readme_block() -> str:
    """Return the table of the README."""
    lines = ["| what | measured | goal |", "|---|---|---|"]
    notes: dict[str, str] = {}
    for row in ROWS:
        found: dict[str, Figure] = {}
        for part in row.part.split():
            found |= figures(part)
        shown = [found[name] for name in row.figures]
        values = " · ".join("not measured" if f.value is None else f.show(f.value) for f in shown)
        goals = " · ".join(f.limit or "–" for f in shown)
        marks = {
            mark: note
            for mark, (flag, note) in NOTES.items()
            if any(load(part)[flag] for part in row.part.split())
        }
        notes |= marks
        lines.append(f"| {' '.join([row.label, *marks])} | {values} | {goals} |")
    lines += ["", " ".join([_machines(), *(f"{mark} {notes[mark]}" for mark in sorted(notes))])]
    return "\n".join(lines)


def _machines() -> str:
    """Return a sentence for each machine and day on which parts of the README were measured."""
    places: dict[str, list[str]] = {}
    for part in dict.fromkeys(name for row in ROWS for name in row.part.split()):
        machine = load(part)["machine"]
        where = f"{machine['cores']} cores, {machine['model']}, Python {machine['python']}"
        places.setdefault(f"{where}, {machine['date'][:10]}", []).append(part)
    if len(places) == 1:
        return f"{next(iter(places))}."
    return " ".join(f"{', '.join(parts)}: {where}." for where, parts in places.items())


def costs() -> Costs:
    """Return the published costs of the model of capacity, in seconds."""
    scale = {"ms": 1e-3, "µs": 1e-6}
    found = figures("capacity")
    return {
        kind: {
            name: (figure.value or 0.0) * scale[figure.unit]
            for name in names
            if (figure := found[f"{kind}: {name}"])
        }
        for kind, names in ACTIVITIES.items()
    }


def costs_block() -> str:
    """Return the table of the costs of CAPACITY.md, and the errors of the model."""
    found = figures("capacity")
    names = list(dict.fromkeys(name for each in ACTIVITIES.values() for name in each))
    lines = [f"| activity | {' | '.join(ACTIVITIES)} |", f"|---|{'---|' * len(ACTIVITIES)}"]
    for name in names:
        cells = []
        for kind in ACTIVITIES:
            figure = found.get(f"{kind}: {name}")
            cells.append("" if figure is None else figure.show(figure.value or 0.0))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    checks = [f for name, f in found.items() if name.startswith("error of the model")]
    lines += ["", "| load of the check | error |", "|---|---|"]
    lines += [
        f"| {f.name.removeprefix('error of the model, ')} | {f.show(f.value or 0.0)} |"
        for f in checks
    ]
    return "\n".join(lines)


def needs_block() -> str:
    """Return the table of CAPACITY.md: what people who are online need."""
    habits, prices = Habits(), costs()
    lines = [
        "| people online | web processes | workers | cores of PostgreSQL | cores of Redis |",
        "|---|---|---|---|---|",
    ]
    for people in PEOPLE:
        n = needs(prices, people, habits)
        lines.append(f"| {people:,} | {n.webs} | {n.workers} | {n.postgres:.1f} | {n.redis:.2f} |")
    found = figures("capacity")
    lines += ["", "| one process | full at, model | full at, simulation |", "|---|---|---|"]
    for kind in ("web", "worker"):
        simulated = found[f"people on one {kind} process, simulation"].value or 0.0
        lines.append(f"| {kind} | {knee(prices, kind, habits):,.0f} | {simulated:,.0f} people |")
    return "\n".join(lines)


BLOCKS: Final = {
    ROOT / "README.md": {"figures": readme_block},
    ROOT / "deploy" / "CAPACITY.md": {"costs": costs_block, "needs": needs_block},
}


def with_blocks(document: Path) -> str:
    """Return a document with its blocks as the results have them."""
    text = document.read_text(encoding="utf-8")
    for name, block in BLOCKS[document].items():
        begin, end = f"<!-- bench: {name} -->\n", "<!-- end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{document.name} has no block {name}")
        text = pattern.sub(lambda _match: f"{begin}{block()}\n{end}", text)  # noqa: B023 # at once
    return text


def main() -> None:
    """Publish the results of the last run."""
    RESULTS.mkdir(exist_ok=True)
    for result in sorted((ROOT / "var" / "bench").glob("*.json")):
        shutil.copy(result, RESULTS)
    CHART.write_text(
        chart.draw(list(figures("fanout").values()), load("fanout")["machine"]), encoding="utf-8"
    )
    for document in BLOCKS:
        document.write_text(with_blocks(document), encoding="utf-8")


if __name__ == "__main__":
    main()
