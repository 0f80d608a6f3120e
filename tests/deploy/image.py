"""Images without a container engine: the same instructions, carried out in a folder.

`FROM` takes over the files of a stage, `COPY` copies, `RUN` runs exactly that command in a shell
with the stage's environment and nothing of ours. The folder stands for `/`: only what comes before
a path differs. Not tried are the base image with its Debian and its Python, and `USER`: a Python
in somebody's home could be run by nobody else.
"""

import os
import shutil
import string
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.dockerfile import Instruction, Stage, stages
from tests.live import ROOT

# Of a base image: whatever it has in its own folders. PATH is set below.
OF_THE_MACHINE = ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "PIP_FIND_LINKS")
LEFT_OUT = {"UV_COMPILE_BYTECODE"}
"""Packages are compiled already: `_lend_bytecode` has what these would become, too."""


@dataclass
class Image:
    """What a stage has become: its files under `root`, its environment, how it is started."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder in which its commands run."""
        return self.path(self.workdir)

    def path(self, path: str) -> Path:
        """Return where a path of the image is here."""
        return self.root / path.lstrip("/")

    def run(self, command: str) -> None:
        """Run a command of a stage, as whoever builds."""
        done = subprocess.run(
            ["sh", "-euc", command],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command}\n{done.stdout}")


class Builder:
    """Builds stages below a folder, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages = stages()
        self.built: dict[str, Image] = {}

    def build(self, name: str) -> Image:
        """Return the image of a stage, after those that it stands on."""
        if name not in self.built:
            self.built[name] = self._build(self.stages[name])
        return self.built[name]

    def _build(self, stage: Stage) -> Image:
        image = self._base(stage)
        for instruction in stage.instructions:
            getattr(self, f"_{instruction.word.lower()}")(image, instruction)
        return image

    def _base(self, stage: Stage) -> Image:
        root = self.folder / stage.name
        if stage.base not in self.stages:
            root.mkdir()
            return Image(root, self._python())
        base = self.build(stage.base)
        shutil.copytree(base.root, root, symlinks=True, copy_function=os.link)
        env = {name: value.replace(f"{base.root}/", f"{root}/") for name, value in base.env.items()}
        return Image(root, env, base.workdir)

    def _python(self) -> dict[str, str]:
        """The Python and the pip of the base image, for which those of this machine stand."""
        python = self.folder / "usr-local"
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
        env = {name: os.environ[name] for name in OF_THE_MACHINE if name in os.environ}
        return {**env, "PATH": f"{python / 'bin'}:/usr/bin:/bin"}

    def _env(self, image: Image, instruction: Instruction) -> None:
        name, _, value = instruction.rest.partition("=")
        if name in LEFT_OUT:
            return
        here = value.replace("/opt/", f"{image.root}/opt/")
        image.env[name] = string.Template(here).substitute(image.env)

    def _workdir(self, image: Image, instruction: Instruction) -> None:
        image.workdir = instruction.rest
        image.folder.mkdir(parents=True, exist_ok=True)

    def _run(self, image: Image, instruction: Instruction) -> None:
        image.run(instruction.rest)
        if instruction.rest.startswith("uv pip install"):
            _lend_bytecode(Path(image.env["VIRTUAL_ENV"]))

    def _copy(self, image: Image, instruction: Instruction) -> None:
        origin, destination = instruction.rest.split()
        target = image.path(os.path.join(image.workdir, destination))  # noqa: PTH118 # not here
        if stage := instruction.flags.get("from"):
            if target.exists():
                target.rmdir()
            target.symlink_to(self.build(stage).path(origin))  # nobody writes to it any more
        elif (ROOT / origin).is_dir():
            shutil.copytree(ROOT / origin, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / origin, target)

    def _user(self, image: Image, instruction: Instruction) -> None:
        image.user = instruction.rest

    def _expose(self, image: Image, instruction: Instruction) -> None:
        """Says something to people only."""

    def _healthcheck(self, image: Image, instruction: Instruction) -> None:
        image.healthcheck = [] if instruction.rest == "NONE" else instruction.command

    def _cmd(self, image: Image, instruction: Instruction) -> None:
        image.command = instruction.command


def _lend_bytecode(environment: Path) -> None:
    """Give the packages of an environment the bytecode that ours has of the same files.

    It fits files that uv has linked from its cache, both there and here. Where it had to copy them,
    from another disk, Python looks at the sources as if nothing had been lent.
    """
    ours = Path(sysconfig.get_path("purelib"))
    theirs = environment / ours.relative_to(sys.prefix)
    for compiled in ours.rglob("*.pyc"):
        source = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        lent = theirs / compiled.relative_to(ours)
        if (theirs / source.relative_to(ours)).exists() and not lent.exists():
            lent.parent.mkdir(exist_ok=True)
            with suppress(OSError):  # on another disk
                os.link(compiled, lent)
