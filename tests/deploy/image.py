"""Builds images without a container engine: executes the Dockerfile's instructions in a folder.

`FROM` takes over the files of a stage, `COPY` copies, `RUN` runs the command in a shell with only
the stage's environment. The folder stands for `/`: paths differ only by that prefix. The base image
(Debian and its Python) is not covered, nor is `USER`: another user could not run a Python that is
installed in a home folder.
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

# Environment variables of a base image. PATH is set below.
INHERITED_VARIABLES = ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "PIP_FIND_LINKS")
LEFT_OUT = {"UV_COMPILE_BYTECODE"}
"""Settings that skip compiling packages: `_link_bytecode` provides the bytecode."""


@dataclass
class Image:
    """A built stage: its files under `root`, its environment and its command."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The working folder of its commands."""
        return self.path(self.workdir)

    def path(self, path: str) -> Path:
        """Return the path on this machine of a path in the image."""
        return self.root / path.lstrip("/")

    def run(self, command: str) -> None:
        """Run a command of a stage, as the user who builds."""
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
        self._arguments: dict[str, str] = {}  # of the build, with their defaults

    def build(self, name: str) -> Image:
        """Build and return the image of a stage; its base stages are built first."""
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
        """Provide the base image's Python and pip: those of this machine."""
        python = self.folder / "usr-local"
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
        env = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        return {**env, "PATH": f"{python / 'bin'}:/usr/bin:/bin"}

    def _env(self, image: Image, instruction: Instruction) -> None:
        name, _, value = instruction.rest.partition("=")
        if name in LEFT_OUT:
            return
        rooted = value.replace("/opt/", f"{image.root}/opt/")
        image.env[name] = string.Template(rooted).substitute(self._arguments | image.env)

    def _arg(self, image: Image, instruction: Instruction) -> None:
        name, _, default = instruction.rest.partition("=")
        self._arguments[name] = default

    def _workdir(self, image: Image, instruction: Instruction) -> None:
        image.workdir = instruction.rest
        image.folder.mkdir(parents=True, exist_ok=True)

    def _run(self, image: Image, instruction: Instruction) -> None:
        image.run(instruction.rest)
        if instruction.rest.startswith("uv pip install"):
            _link_bytecode(Path(image.env["VIRTUAL_ENV"]))

    def _copy(self, image: Image, instruction: Instruction) -> None:
        origin, destination = instruction.rest.split()
        target = image.path(os.path.join(image.workdir, destination))  # noqa: PTH118 # a path in the image
        if stage := instruction.flags.get("from"):
            if target.exists():
                target.rmdir()
            target.symlink_to(self.build(stage).path(origin))  # no later instruction writes to it
        elif (ROOT / origin).is_dir():
            shutil.copytree(ROOT / origin, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / origin, target)

    def _user(self, image: Image, instruction: Instruction) -> None:
        image.user = instruction.rest

    def _expose(self, image: Image, instruction: Instruction) -> None:
        """Do nothing: EXPOSE is only documentation."""

    def _healthcheck(self, image: Image, instruction: Instruction) -> None:
        image.healthcheck = [] if instruction.rest == "NONE" else instruction.command

    def _cmd(self, image: Image, instruction: Instruction) -> None:
        image.command = instruction.command


def _link_bytecode(environment: Path) -> None:
    """Link the bytecode of this environment's packages into the image's environment.

    It is valid for files that uv has hard-linked from its cache in both places. Where uv has copied
    them, Python ignores the bytecode and compiles the sources.
    """
    packages = Path(sysconfig.get_path("purelib"))
    image_packages = environment / packages.relative_to(sys.prefix)
    for compiled in packages.rglob("*.pyc"):
        source = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        target = image_packages / compiled.relative_to(packages)
        if (image_packages / source.relative_to(packages)).exists() and not target.exists():
            target.parent.mkdir(exist_ok=True)
            with suppress(OSError):  # on another disk
                os.link(compiled, target)
