"""A measured value and its goal."""

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
    "shift": 3,
}


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    A `value` of None could not be measured; `note` has the reason. A goal is an upper limit, or a
    lower limit if `at_least`. `value` is the median of `rounds`, if there are any.
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
        """Whether the goal is met, or by how much it is missed."""
        if self.value is None:
            return "not measured"
        if self.goal is None:
            return ""
        return f"missed by {self.show(abs(self.value - self.goal))}" if self.missed else "met"

    @property
    def limit(self) -> str:
        """The goal as text; empty without a goal."""
        if self.goal is None:
            return ""
        return f"{'≥' if self.at_least else '≤'} {self.show(self.goal)}"

    def show(self, number: float) -> str:
        """Return a number with the unit of this figure."""
        return f"{number:.{DIGITS.get(self.unit, 0)}f} {self.unit}"


def of_rounds(
    name: str,
    rounds: Sequence[Sequence[float]],
    unit: str,
    *,
    goal: float | None = None,
    note: str = "",
) -> Figure:
    """Return the median of the medians of the rounds, so that a disturbed round counts once."""
    medians = tuple(median(samples) for samples in rounds)
    return Figure(name, median(medians), unit, goal, medians, note)


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that is not exceeded by `share` (0 to 1) of the samples."""
    return sorted(samples)[max(ceil(share * len(samples)), 1) - 1]
