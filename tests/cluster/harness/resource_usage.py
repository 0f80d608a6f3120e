"""What a worker holds: memory, threads, files, and handlers on CrewAI's bus."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness.cluster import Worker
from tests.live import until


@dataclass(frozen=True)
class Holdings:
    """What a process holds."""

    megabytes: float
    threads: int
    files: int
    handlers: int


class CountedWorker(Worker):
    """A worker that says how many handlers there are when it is asked."""

    entry: Sequence[str] = ("-m", "tests.cluster.harness.counting_worker")

    def look(self) -> Holdings:
        """Return what the worker holds now."""
        before = len(self._counts())
        os.kill(self.pid, signal.SIGUSR1)
        until(lambda: len(self._counts()) > before)
        process = Path(f"/proc/{self.pid}")
        told = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Holdings(
            megabytes=int(told["VmRSS"].split()[0]) * 1024 / 1e6,
            threads=int(told["Threads"]),
            files=len(list((process / "fd").iterdir())),
            handlers=self._counts()[-1],
        )

    def _counts(self) -> list[int]:
        lines = self.output.splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("handlers ")]
