"""Processes of the benchmark that are told what to do line by line: JSON in, JSON out."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.live import ROOT


class Helper:
    """`python -m MODULE …`. Entering starts it, leaving ends it."""

    def __init__(self, *command: str, env: Mapping[str, str] | None = None, log: Path) -> None:
        self._command = [sys.executable, "-m", *command]
        self._env = env
        self._log = log
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process is not None
        self.process.kill()  # nothing of it is kept, and a server may have much to say good-bye to
        self.process.wait()

    def tell(self, what: str, **fields: Any) -> None:
        """Say what is to be done, and do not wait for it."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **fields}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Return what the process says of the oldest thing that it was told."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self._log.read_text(errors="replace")[-4_000:])
        return json.loads(line)

    def ask(self, what: str, **fields: Any) -> Any:
        """Say what is to be done and return the answer."""
        self.tell(what, **fields)
        return self.answer()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid
