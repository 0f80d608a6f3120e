"""The results as a Markdown page, which is kept in the repository."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.chaos.target import Outcome

if TYPE_CHECKING:
    from tests.chaos.__main__ import Counts

PAGE: Final = Path(__file__).with_name("RESULTS.md")
SHOWN: Final = 20
"""At most this many violations of a part are written; the first ones explain the fault."""

BAD_CLIENTS: Final = ("slow", "stuck", "flooding", "oversized", "half-open")

GOALS: Final = {
    "kill to end of run, p99 (s)": 15,
    "acknowledgement to closed connection, p99 (s)": 1,
    "concurrent ping, p99 (ms)": 50,
    "recovery to live streaming, longest (s)": 10,
    "crash to received elsewhere, longest (s)": 5,
    "disconnected at a restart, p95 (s)": 10,
    "commit to room.removed, p99 (ms)": 250,
    "commit to room.removed, longest (ms)": 1_000,
    "CPU of the load client, largest (cores)": 0.5,
    **dict.fromkeys((f"with {n} clients, p99 ÷ p99 without bad clients" for n in BAD_CLIENTS), 1.2),
    **dict.fromkeys((f"with {n} clients, RSS growth, largest (MB)" for n in BAD_CLIENTS), 10),
    "half-open connections closed after, at most (s)": 60,
    "RSS growth, largest (MB)": 50,
    "more threads, largest": 0,
    "more file descriptors, largest": 0,
    "more CrewAI handlers, largest": 0,
}
"""Upper limits on a machine without other load."""

HEAD: Final = """\
# Results of fault injection

Written by `make chaos`. The target is a cluster of two web processes and two workers on one
PostgreSQL and one Redis. Faults are injected while clients send messages and personas answer.
`tests/cluster/harness/oracle.py` defines what a violation is; README.md explains the parts.

The durations and rates depend on this machine. If other processes used more than 10 % of its CPU
during a part, do not compare the figures of that part with the goals. A violation is a fault of the
product on every machine.
"""


@dataclass(frozen=True)
class Part:
    """One part that has run, and its outcome."""

    name: str
    outcome: Outcome
    seconds: float
    foreign: float
    """The share of the machine's CPU that other processes used during the part."""


def as_page(facts: dict[str, str | int | float], counts: "Counts", parts: Sequence[Part]) -> str:
    """Return the whole page as Markdown."""
    requested = ", ".join(f"{name} {number:,}" for name, number in asdict(counts).items())
    minutes = sum(part.seconds for part in parts) / 60
    listed = {**facts, "counts": requested, "took": f"{minutes:.0f} minutes"}
    lines = [HEAD, *(f"- {name}: {fact}" for name, fact in listed.items())]
    return "\n".join([*lines, *(line for part in parts for line in _section(part))]) + "\n"


def as_line(part: Part) -> str:
    """Return the summary of a part in one line."""
    wrong = len(part.outcome.violations)
    return (
        f"{part.name}: {wrong} violations in {part.seconds:.0f} s, "
        f"other processes used {part.foreign:.0%} of the CPU"
    )


def _section(part: Part) -> list[str]:
    violations = part.outcome.violations
    return [
        "",
        f"## {as_line(part)}",
        "",
        *(f"- **{violation}**" for violation in violations[:SHOWN]),
        *([""] if violations else []),
        "| figure | measured | goal |",
        "| --- | ---: | --- |",
        *(_row(name, value) for name, value in part.outcome.figures.items()),
    ]


def _row(name: str, value: float) -> str:
    goal = GOALS.get(name)
    if goal is None:
        return f"| {name} | {_number(value)} | |"
    return f"| {name} | {_number(value)} | ≤ {goal}{'' if value <= goal else ', missed'} |"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
