"""CPU time, memory, threads and file descriptors of a process, as the kernel counts them."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness.cluster import Worker
from tests.live import until


@dataclass(frozen=True)
class ResourceUsage:
    """The resources of a worker at one moment. A megabyte is 10^6 bytes."""

    megabytes: float
    threads: int
    files: int
    handlers: int


class MeasuredWorker(Worker):
    """A worker that reports the number of CrewAI's event handlers on request."""

    entry: Sequence[str] = ("-m", "tests.cluster.harness.counting_worker")

    def usage(self) -> ResourceUsage:
        """Return what the worker uses now. Blocks until the worker has printed its handlers."""
        before = len(self._counts())
        os.kill(self.pid, signal.SIGUSR1)
        until(lambda: len(self._counts()) > before)
        return ResourceUsage(
            megabytes=memory_bytes(self.pid, "VmRSS") / 1e6,
            threads=int(_status(self.pid)["Threads"]),
            files=len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
            handlers=self._counts()[-1],
        )

    def _counts(self) -> list[int]:
        lines = self.output.splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("handlers ")]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process in seconds, exact to the nanosecond.

    The time of threads that have ended is not included.
    """
    stats = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


def memory_bytes(pid: int, field: str = "RssAnon") -> int:
    """Return a memory field of /proc/PID/status in bytes.

    RssAnon is the private memory, RssFile the file pages that processes share, VmRSS their sum.
    """
    return int(_status(pid)[field].split()[0]) * 1024


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}
