"""A figure: what was measured, beside its goal."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Final

DIGITS: Final = {
    "s": 2,
    "ms": 1,
    "µs": 1,
    "×": 2,
    "MB": 0,
    "KB": 1,
    "%": 1,
    "per chunk": 2,
    "transactions/s": 1,
}


@dataclass(frozen=True)
class Figure:
    """One line of the table. No value: it could not be measured, and `note` says why.

    A goal is an upper limit, unless `at_least`. `rounds` are what `value` is the median of.
    """

    name: str
    value: float | None
    unit: str
    goal: float | None = None
    rounds: tuple[float, ...] = ()
    note: str = ""
    at_least: bool = False

    @property
    def missed(self) -> bool:
        if self.value is None or self.goal is None:
            return False
        return self.value < self.goal if self.at_least else self.value > self.goal

    @property
    def verdict(self) -> str:
        """Say whether the goal is met, or by how much it is missed."""
        if self.value is None:
            return "did not run"
        if self.goal is None:
            return ""
        return f"missed by {self.show(abs(self.value - self.goal))}" if self.missed else "met"

    @property
    def limit(self) -> str:
        """Say what the goal is, empty where there is none."""
        if self.goal is None:
            return ""
        return f"{'≥' if self.at_least else '≤'} {self.show(self.goal)}"

    def show(self, number: float) -> str:
        """Return a number with the figure's unit."""
        return f"{number:.{DIGITS.get(self.unit, 0)}f} {self.unit}"


def of_rounds(
    name: str,
    rounds: Sequence[Sequence[float]],
    unit: str,
    *,
    goal: float | None = None,
    note: str = "",
) -> Figure:
    """Return the median of the rounds' medians: a round that was disturbed counts once."""
    medians = tuple(median(samples) for samples in rounds)
    return Figure(name, median(medians), unit, goal, medians, note)


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that `share` of all samples do not exceed."""
    return sorted(samples)[max(ceil(share * len(samples)), 1) - 1]
