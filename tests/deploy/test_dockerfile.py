"""Rules of the Dockerfile."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.dockerfile import DOCKERFILE, Instruction, Stage, stages
from tests.live import ROOT

SHIPPED = ("web", "agents")
VERSIONED = re.compile(r"[a-z]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?")
SECRET = re.compile(r"(password|secret|token|_key)\w*=", re.IGNORECASE)


def faults(found: dict[str, Stage]) -> Iterator[str]:
    """Yield what is wrong with a Dockerfile."""
    for stage in found.values():
        if stage.base not in found and not VERSIONED.fullmatch(stage.base):
            yield f"{stage.base} is an image without a version"
        for instruction in stage.instructions:
            yield from (f"{stage.name} {fault}" for fault in _faults_of_line(instruction))
    for name in SHIPPED:
        yield from (f"{name} {fault}" for fault in _faults_of_shipped(found[name]))


def _faults_of_line(line: Instruction) -> Iterator[str]:
    if "apt-get install" in line.rest and "rm -rf /var/lib/apt" not in line.rest:
        yield "keeps lists of packages"
    if line.word in {"ENV", "ARG"} and SECRET.search(line.rest):
        yield "holds a secret"
    if line.word == "ADD":
        yield "fetches what nothing checks"


def _faults_of_shipped(stage: Stage) -> Iterator[str]:
    last = {line.word: line.rest for line in stage.instructions}
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.get("USER", "")):
        yield "runs as root, or as a user whose number is not known"
    if not last.get("CMD", "").startswith("["):
        yield "has a shell between it and its signals"
    if "HEALTHCHECK" not in last:
        yield "has no health check"
    if "RUN" in last:
        yield "ships what it was built with"


def test_dockerfile_has_no_fault() -> None:
    assert list(faults(stages())) == []


@pytest.mark.parametrize(
    ("written", "instead", "fault"),
    [
        ("python:3.11-slim", "python:latest", "python:latest is an image without a version"),
        ("python:3.11-slim", "debian", "debian is an image without a version"),
        ("RUN pip install", "RUN apt-get install gcc; pip", "web-packages keeps lists of packages"),
        ("ENV PYTHONUNBUFFERED=1", "ENV MARU_SECRET_KEY=x", "python holds a secret"),
        ("COPY manage.py", "ADD manage.py", "code fetches what nothing checks"),
        ("USER 10001:10001", "USER 0:0", "web runs as root"),
        ("USER 10001:10001", "USER maru", "web runs as root"),
        ('CMD ["python", "-m"', 'CMD exec "python -m"', "web has a shell between"),
        ("EXPOSE 9101\nHEALTHCHECK", "EXPOSE 9101\nLABEL", "agents has no health check"),
        ("EXPOSE 8000", "RUN true", "web ships what it was built with"),
    ],
)
def test_fault_is_found(tmp_path: Path, written: str, instead: str, fault: str) -> None:
    text = DOCKERFILE.read_text()
    assert written in text
    (tmp_path / "Dockerfile").write_text(text.replace(written, instead))

    assert any(found.startswith(fault) for found in faults(stages(tmp_path / "Dockerfile")))


def test_build_context_contains_only_copied_files() -> None:
    lines = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    copies = (copy for stage in stages().values() for copy in stage.of("COPY"))
    sources = {copy.rest.split()[0] for copy in copies if "from" not in copy.flags}

    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)
