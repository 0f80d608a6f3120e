"""Run a command and limit each of its processes to a share of one core.

    python -m tests.throttle [--share 0.33] [--signals] -- COMMAND [ARGUMENT…]

A test that depends on the speed of the machine fails under this tool, as it would on a slow
machine. Each process has a quota of its own, so that `pytest -n 6` runs six slow processes on two
cores.

A writable cgroup of the `cpu` controller (version 1 or 2, usually root only) gives each process
its quota. Without one the tool stops and continues each process in turn with SIGSTOP and SIGCONT,
which would also continue a process that a test has stopped.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

SHARE = 1 / 3
PERIOD_SECONDS = 0.030
PR_SET_CHILD_SUBREAPER = 36
CGROUPS = Path("/sys/fs/cgroup")


class Throttle(Protocol):
    def limit(self, pid: int) -> None:
        """Limit the process and its descendants. Called in the child before its exec."""

    def turn(self) -> None:
        """Limit the processes that were started since the last turn; takes about a period."""

    def release(self) -> None:
        """Remove the limit from all processes."""


class Cgroups:
    """One cgroup for each process; a new process begins in the cgroup of its parent."""

    def __init__(self, parent: Path, share: float) -> None:
        self._folder = parent / f"throttle-{os.getpid()}"
        self._folder.mkdir()
        period, quota = int(PERIOD_SECONDS * 1e6), int(PERIOD_SECONDS * share * 1e6)
        self._limits = {"cpu.max": f"{quota} {period}"}
        if (self._folder / "cpu.cfs_quota_us").exists():
            self._limits = {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)}
            # All quotas together compete with the rest of the machine as one task would.
            (self._folder / "cpu.shares").write_text("8192")
        else:
            (self._folder / "cgroup.subtree_control").write_text("+cpu")
            (self._folder / "cpu.weight").write_text("800")

    def limit(self, pid: int) -> None:
        group = self._folder / str(pid)
        group.mkdir()
        for name, value in self._limits.items():
            (group / name).write_text(value)
        (group / "cgroup.procs").write_text(str(pid))

    def turn(self) -> None:
        time.sleep(PERIOD_SECONDS)
        for group in self._groups():
            pids = (group / "cgroup.procs").read_text().split()
            for pid in pids:
                if pid != group.name:
                    with suppress(OSError):  # the process has ended
                        self.limit(int(pid))
            if not pids:
                with suppress(OSError):  # a process has joined it
                    group.rmdir()

    def release(self) -> None:
        for group in self._groups():
            for pid in (group / "cgroup.procs").read_text().split():
                with suppress(OSError):
                    (self._folder.parent / "cgroup.procs").write_text(pid)
            group.rmdir()
        self._folder.rmdir()

    def _groups(self) -> list[Path]:
        return [group for group in self._folder.iterdir() if group.is_dir()]


class Signals:
    """SIGSTOP and SIGCONT to all descendants: running for a share of each period."""

    def __init__(self, share: float) -> None:
        self._share = share
        # Descendants whose parent has ended become children of this process, and stay descendants.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def limit(self, pid: int) -> None:
        """Nothing to do: a child is found by its parent."""

    def turn(self) -> None:
        # A third of a period at a time, so that not all processes run at the same moment.
        ours = sorted(descendants(os.getpid()))
        slots = max(round(1 / self._share), 1)
        for slot in range(slots):
            running = set(ours[slot::slots])
            for pid in ours:
                send(pid, signal.SIGCONT if pid in running else signal.SIGSTOP)
            time.sleep(PERIOD_SECONDS * self._share)

    def release(self) -> None:
        for pid in descendants(os.getpid()):
            send(pid, signal.SIGCONT)


def send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def descendants(ancestor: int) -> Iterator[int]:
    """Yield the ids of all descendants of this process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # the process has ended
                # The name, in parentheses, may hold spaces; state and parent follow it.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    pending = children.get(ancestor, [])
    while pending:
        pid = pending.pop()
        pending += children.get(pid, [])
        yield pid


def throttle(share: float, *, signals: bool = False) -> Throttle:
    """Return a Cgroups if this user may create cgroups, otherwise a Signals."""
    if not signals:
        for parent in (CGROUPS / "cpu", CGROUPS):
            with suppress(OSError):
                return Cgroups(parent, share)
    return Signals(share)


def run(command: list[str], held: Throttle) -> int:
    """Run the command, throttled, and return its exit status."""
    process = subprocess.Popen(command, preexec_fn=lambda: held.limit(os.getpid()))  # noqa: PLW1509 # has one thread
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while process.poll() is None:
            held.turn()
    finally:
        held.release()
        process.wait()
    return process.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.throttle", description=__doc__)
    parser.add_argument("--share", type=float, default=SHARE, help="of one core, for each process")
    parser.add_argument("--signals", action="store_true", help="use signals instead of cgroups")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    return run(command, throttle(options.share, signals=options.signals))


if __name__ == "__main__":
    sys.exit(main())
