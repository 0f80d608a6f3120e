"""The rules that the Dockerfile keeps, whoever builds it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.dockerfile import DOCKERFILE, Stage, stages
from tests.live import ROOT

SHIPPED = ("web", "agents")
SECRET = re.compile(r"(password|secret|token|_key)\w*=", re.IGNORECASE)


def faults(found: dict[str, Stage]) -> Iterator[str]:
    """Name what is wrong with a Dockerfile."""
    for stage in found.values():
        if stage.base not in found and not re.fullmatch(r"[a-z]+:[\w.-]*\d[\w.-]*", stage.base):
            yield f"{stage.base} is an image without a version"
        for instruction in stage.instructions:
            if (
                "apt-get install" in instruction.rest
                and "rm -rf /var/lib/apt" not in instruction.rest
            ):
                yield f"{stage.name} keeps lists of packages"
            if instruction.word in {"ENV", "ARG"} and SECRET.search(instruction.rest):
                yield f"{stage.name} holds a secret"
            if instruction.word == "ADD":
                yield f"{stage.name} fetches what nothing checks"
    for stage in (found[name] for name in SHIPPED):
        users = [instruction.rest for instruction in stage.of("USER")]
        if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
            yield f"{stage.name} runs as root, or as somebody whose number is not known"
        if not stage.of("CMD") or stage.of("CMD")[-1].rest[0] != "[":
            yield f"{stage.name} has a shell between it and its signals"
        if not stage.of("HEALTHCHECK"):
            yield f"{stage.name} says nothing of its health"
        if stage.of("RUN"):
            yield f"{stage.name} ships what it was built with"


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
        ("HEALTHCHECK NONE", "EXPOSE 1", "agents says nothing of its health"),
        ("EXPOSE 8000", "RUN true", "web ships what it was built with"),
    ],
)
def test_fault_is_found(tmp_path: Path, written: str, instead: str, fault: str) -> None:
    text = DOCKERFILE.read_text()
    assert written in text
    (tmp_path / "Dockerfile").write_text(text.replace(written, instead))

    assert any(found.startswith(fault) for found in faults(stages(tmp_path / "Dockerfile")))


def test_only_what_is_copied_reaches_the_builder() -> None:
    lines = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    copies = (copy for stage in stages().values() for copy in stage.of("COPY"))
    sources = {copy.rest.split()[0] for copy in copies if "from" not in copy.flags}

    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)
