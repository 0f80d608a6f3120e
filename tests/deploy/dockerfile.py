"""A parser of the Dockerfile: stages with their instructions."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.live import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction: its `word` (RUN, COPY…), its `--name=value` flags, and the `rest`."""

    word: str
    flags: dict[str, str]
    rest: str

    @property
    def command(self) -> list[str]:
        """The arguments of a command in exec form."""
        words: list[str] = json.loads(self.rest.removeprefix("CMD "))
        return words


@dataclass
class Stage:
    """A build stage: its base image or stage, its name and its instructions."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, word: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.word == word]


def stages(path: Path = DOCKERFILE) -> dict[str, Stage]:
    """Return the stages by name, in file order."""
    found: dict[str, Stage] = {}
    stage = None
    for instruction in _instructions(path.read_text()):
        if instruction.word == "FROM":
            base, _, name = instruction.rest.partition(" AS ")
            stage = found.setdefault(name, Stage(base, name))
        else:
            assert stage is not None, "no instruction comes before FROM"
            stage.instructions.append(instruction)
    return found


def _instructions(text: str) -> Iterator[Instruction]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        flags = {}
        while match := re.match(r"--([\w-]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Instruction(word, flags, rest.strip())
