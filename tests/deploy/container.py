"""Processes of an image, started with the image's command and environment."""

import subprocess
from pathlib import Path

from tests.deadlines import DEADLINE
from tests.deploy.image import Image
from tests.live import Installation, free_port, until


class Container(Installation):
    """A web process of an image, used like any other installation."""

    def __init__(self, folder: Path, image: Image, **settings: str) -> None:
        super().__init__(folder)
        self.image = image
        # A user id without a name has no writable home folder.
        ports = {"MARU_PORT": str(self.port), "MARU_METRICS_PORT": str(free_port())}
        self.env = {**image.env, "HOME": "/nonexistent", **ports, **settings}

    def start(self) -> None:
        """Start the process and return when the image's health check succeeds."""
        self.launch()
        until(self._is_healthy, 3 * DEADLINE)

    def launch(self) -> None:
        """Start the image's command without waiting for the health check."""
        with (self.folder / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.image.command,
                cwd=self.image.folder,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `docker exec` does."""
        return subprocess.run(
            command,
            cwd=self.image.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        done = self.execute("python", "manage.py", *arguments)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def _is_healthy(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"The process has ended:\n{self.output}")
        return self.execute(*self.image.healthcheck).returncode == 0

    def resident_mib(self) -> int:
        """Return the resident memory of the process in MiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024
