"""Child processes that are controlled by lines of JSON on standard input and output."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.live import ROOT


class JsonProcess:
    """`python -m MODULE …`. Entering starts the process, leaving kills it."""

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
        self.process.kill()  # it keeps no data; a clean end would close a thousand sockets first
        self.process.wait()

    def send(self, action: str, **fields: Any) -> None:
        """Send a request without waiting for its response."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": action, **fields}) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        """Return the response to the oldest request without one; raise RuntimeError at its end."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self._log.read_text(errors="replace")[-4_000:])
        return json.loads(line)

    def request(self, action: str, **fields: Any) -> Any:
        """Send a request and return its response."""
        self.send(action, **fields)
        return self.receive()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid
