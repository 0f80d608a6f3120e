"""A description of the machine, and whether other load disturbed a measurement."""

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

Facts = dict[str, str | int | float]
"""What `describe` returns."""

NOISE_RULE: Final = (
    f"A fixed loop is timed {LOOPS} times before and after each part. A part is noisy if the "
    f"median was more than {SLOWER - 1:.0%} slower than the best median of the run, or if other "
    f"processes used more than {FOREIGN:.0%} of the machine's CPU. Repeat noisy parts on an idle "
    "machine."
)


@dataclass
class Noise:
    """The times of the loop before and after a part (ms), and the CPU share of other processes."""

    before: float = 0.0
    after: float = 0.0
    foreign: float = 0.0

    def reasons(self, best: float) -> list[str]:
        """Return why a part is noisy, given the best median time of the loop in milliseconds."""
        slower = max(self.before, self.after) / best
        reasons = [f"loop {slower - 1:.0%} slower"] if slower > SLOWER else []
        if self.foreign > FOREIGN:
            reasons.append(f"other processes used {self.foreign:.0%} of the CPU")
        return reasons


@contextmanager
def watched() -> Iterator[Noise]:
    """Observe the machine during a part; the yielded Noise is complete afterwards."""
    noise = Noise(before=calibrate())
    began, busy, own = time.monotonic(), _busy_seconds(), _own_seconds()
    try:
        yield noise
    finally:
        capacity = (time.monotonic() - began) * (os.cpu_count() or 1)
        others = (_busy_seconds() - busy) - (_own_seconds() - own)
        noise.foreign = max(others / capacity, 0.0)
        noise.after = calibrate()


def calibrate() -> float:
    """Return the median time of the fixed loop in milliseconds."""
    times = []
    for _ in range(LOOPS):
        began = time.perf_counter()
        sum(number * number for number in range(100_000))
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


def describe() -> Facts:
    """Return the facts about the machine and the checkout that the table shows."""
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
    """Return the busy seconds of all CPUs since boot, stolen time included (proc(5))."""
    _cpu, *ticks = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, ticks[:8])
    return (user + nice + system + sum(interrupts_and_stolen)) / _TICK


def _own_seconds() -> float:
    """Return the CPU seconds of this process and its descendants, ended ones included."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # has just ended; its parent's children time has its ticks
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))
    return sum(ticks[pid] for pid in ticks if _is_descendant(pid, parents)) / _TICK


def _is_descendant(pid: int, parents: dict[int, int]) -> bool:
    while pid not in (0, os.getpid()):
        pid = parents.get(pid, 0)
    return pid != 0
