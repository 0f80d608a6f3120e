"""What was seen, as a page that is kept in the repository."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.chaos.target import Outcome

if TYPE_CHECKING:
    from tests.chaos.__main__ import Counts

PAGE: Final = Path(__file__).with_name("RESULTS.md")
SHOWN: Final = 20
"""So many complaints of a part are written down; the first ones say what is wrong."""

NEIGHBOURS: Final = ("slow", "stuck", "flooding", "huge", "half-open")

GOALS: Final = {
    "from kill to end, p99 (s)": 15,
    "acknowledgement to connection closed, p99 (s)": 1,
    "a command meanwhile, p99 (ms)": 50,
    "live again, longest (s)": 10,
    "crash to heard elsewhere, longest (s)": 5,
    "away at a restart, p95 (s)": 10,
    "removed to told, p99 (ms)": 250,
    "removed to told, longest (ms)": 1_000,
    "share of a core of their process, most": 0.5,
    **dict.fromkeys((f"beside {name}, p99 : p99 beside nobody" for name in NEIGHBOURS), 1.2),
    **dict.fromkeys((f"beside {name}, RSS grown by, most (MB)" for name in NEIGHBOURS), 10),
    "half-open ones noticed, at the latest (s)": 60,
    "RSS grown by, most (MB)": 50,
    "threads more, most": 0,
    "file descriptors more, most": 0,
    "handlers of CrewAI more, most": 0,
}
"""What a figure must not exceed on a machine that has nothing else to do."""

HEAD: Final = """\
# What the cluster has survived

Written by `make chaos`: two web processes and two workers on one PostgreSQL and one Redis, broken
while people write and personas answer. The rules are in
`tests/cluster/harness/oracle.py`.
Times are as they were on this machine. Where others took more than a tenth of its CPU meanwhile, do
not hold them against the goals; what is wrong is wrong on any machine.
"""


@dataclass(frozen=True)
class Part:
    """One fault, and what came of it."""

    name: str
    ids: str
    outcome: Outcome
    seconds: float
    foreign: float
    """The share of the machine's CPU that others took meanwhile."""


def as_page(facts: dict[str, str | int | float], counts: "Counts", parts: Sequence[Part]) -> str:
    """Return all of it as Markdown."""
    asked = ", ".join(f"{name} {number:,}" for name, number in asdict(counts).items())
    minutes = sum(part.seconds for part in parts) / 60
    told = {**facts, "counts": asked, "took": f"{minutes:.0f} minutes"}
    lines = [HEAD, *(f"- {name}: {fact}" for name, fact in told.items())]
    return "\n".join([*lines, *(line for part in parts for line in _section(part))]) + "\n"


def as_line(part: Part) -> str:
    """Return a part in short."""
    wrong = len(part.outcome.complaints)
    took = f"{wrong} complaints in {part.seconds:.0f} s"
    return f"{part.name} ({part.ids}): {took}, others took {part.foreign:.0%} of the CPU"


def _section(part: Part) -> list[str]:
    complaints = part.outcome.complaints
    return [
        "",
        f"## {as_line(part)}",
        "",
        *(f"- **{complaint}**" for complaint in complaints[:SHOWN]),
        *([""] if complaints else []),
        "| figure | seen | goal |",
        "| --- | ---: | --- |",
        *(_row(name, value) for name, value in part.outcome.figures.items()),
    ]


def _row(name: str, value: float) -> str:
    goal = GOALS.get(name)
    if goal is None:
        return f"| {name} | {_shown(value)} | |"
    return f"| {name} | {_shown(value)} | ≤ {goal}{'' if value <= goal else ', missed'} |"


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
