"""Processes of an image: started by its own command, with its own environment."""

import subprocess
from pathlib import Path

from tests.deploy.image import Image
from tests.live import PATIENCE, Installation, until


class Container(Installation):
    """A web process of an image; clients speak to it as to any installation."""

    def __init__(self, folder: Path, image: Image, **settings: str) -> None:
        super().__init__(folder)
        self.image = image
        # A user without a name has no home; a container's is `/`, which is not writable.
        self.env = {**image.env, "HOME": "/", "MARU_PORT": str(self.port), **settings}

    def start(self) -> None:
        self.launch()
        until(self._is_ready)

    def launch(self) -> None:
        """Start the image's command without waiting for anything."""
        with (self.folder / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.image.command,
                cwd=self.image.folder,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another command in the container, as `docker exec` does."""
        return subprocess.run(
            command,
            cwd=self.image.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        done = self.execute("python", "manage.py", *arguments)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def resident_mib(self) -> int:
        """Return how much memory the process holds."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024
