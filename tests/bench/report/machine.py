"""The machine: what it is, and whether it was quiet enough to be believed."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from tests.live import ROOT

LOOPS: Final = 25
SLOWER: Final = 1.15
FOREIGN: Final = 0.10
_TICK: Final = os.sysconf("SC_CLK_TCK")

JUDGED: Final = (
    f"A part is noisy when a fixed loop, timed {LOOPS} times before and after it, was in the "
    f"median more than {SLOWER - 1:.0%} slower than at the run's best, or when other processes "
    f"took more than {FOREIGN:.0%} of the machine's CPU meanwhile. Do not believe noisy figures."
)


@dataclass
class Calm:
    """What disturbed one part: the loop's times around it, and the CPU that others took."""

    before: float = 0.0
    after: float = 0.0
    foreign: float = 0.0

    def noises(self, best: float) -> list[str]:
        """Say what was wrong, given the loop's time on this machine at its best."""
        slower = max(self.before, self.after) / best
        noises = [f"loop {slower - 1:.0%} slower"] if slower > SLOWER else []
        return (
            [*noises, f"others took {self.foreign:.0%} CPU"] if self.foreign > FOREIGN else noises
        )


@contextmanager
def watched() -> Iterator[Calm]:
    """Watch the machine while a part runs; what is yielded is complete afterwards."""
    calm = Calm(before=calibrate())
    began, busy, own = time.monotonic(), _busy_seconds(), _own_seconds()
    try:
        yield calm
    finally:
        capacity = (time.monotonic() - began) * (os.cpu_count() or 1)
        others = (_busy_seconds() - busy) - (_own_seconds() - own)
        calm.foreign = max(others / capacity, 0.0)
        calm.after = calibrate()


def calibrate() -> float:
    """Return the median time of a fixed piece of work, in milliseconds."""
    times = []
    for _ in range(LOOPS):
        began = time.perf_counter()
        sum(number * number for number in range(100_000))
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


def describe() -> dict[str, str | int | float]:
    """Return what the table says of the machine and of the tree."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cores": os.cpu_count() or 1,
        "model": _cpu_model(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "bytecode": "not kept (PYTHONDONTWRITEBYTECODE)"
        if os.environ.get("PYTHONDONTWRITEBYTECODE")
        else "kept",
    }


def _commit() -> str:
    try:
        commit, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    except OSError:
        return "unknown"
    return f"{commit} and changes" if changes else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "?")


def _busy_seconds() -> float:
    """What all processors have worked since the machine started, hypervisor's share included."""
    _cpu, *ticks = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, ticks[:8])
    return (user + nice + system + sum(interrupts_and_stolen)) / _TICK


def _own_seconds() -> float:
    """What we and all processes below us have worked, those that have ended included."""
    parents: dict[int, int] = {}
    worked: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # has ended meanwhile: its parent has its time, if it was ours
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        worked[pid] = sum(map(int, fields[11:15]))
    return sum(worked[pid] for pid in worked if _is_ours(pid, parents)) / _TICK


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid not in (0, os.getpid()):
        pid = parents.get(pid, 0)
    return pid != 0
