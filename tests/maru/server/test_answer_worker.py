"""Who is told to stop while CrewAI is being imported does not wait for the rest of it."""

import asyncio
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import Event

import pytest

from agents import engine
from maru.server import answer_worker
from tests.live import until

PARTS = 100
SLOW = """
import importlib, time
for number in range({parts}):
    importlib.import_module(f"{name}.part{number}")
    time.sleep(0.01)
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that takes seconds to import, in the place of CrewAI."""
    name = "slow_" + tmp_path.name.replace("-", "_")
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text(
        SLOW.replace("{parts}", str(PARTS)).replace("{name}", name)
    )
    for number in range(PARTS):
        (package / f"part{number}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(answer_worker, "CREWAI", (name,))
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


async def stopped_while_importing(slow: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Cancel the import in its midst; return how many parts were imported in the end."""
    ended = Event()

    def load() -> None:
        try:
            import_module(slow)
        finally:
            ended.set()

    monkeypatch.setattr(engine, "warm", lambda: asyncio.to_thread(load))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    warming = asyncio.create_task(answer_worker._warm())
    await asyncio.to_thread(until, lambda: f"{slow}.part1" in sys.modules)
    warming.cancel()
    await asyncio.gather(warming, return_exceptions=True)
    await asyncio.to_thread(ended.wait)
    return sum(module.startswith(f"{slow}.part") for module in sys.modules)


async def test_stopped_import_ends(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await stopped_while_importing(slow, monkeypatch) < PARTS / 2


async def test_without_the_finder_it_would_go_on(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_worker, "CREWAI", ())

    assert await stopped_while_importing(slow, monkeypatch) == PARTS
