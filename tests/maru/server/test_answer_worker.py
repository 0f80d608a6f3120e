"""A worker that is stopped while CrewAI is being imported aborts the import."""

import asyncio
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import Event

import pytest

from agents import engine
from maru.server import answer_worker
from tests.deadlines import scaled
from tests.live import until

PARTS = 100
SLOW = """
import importlib, time
for number in range({parts}):
    importlib.import_module(f"{name}.part{number}")
    time.sleep({seconds})
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that takes seconds to import, in place of CrewAI."""
    name = "slow_" + tmp_path.name.replace("-", "_")
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text(
        SLOW.replace("{parts}", str(PARTS))
        .replace("{name}", name)
        .replace("{seconds}", str(scaled(0.01)))
    )
    for number in range(PARTS):
        (package / f"part{number}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(answer_worker, "CREWAI", (name,))
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


async def parts_imported_after_cancel(slow: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Cancel the import half-way; return how many parts were imported."""
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


async def test_cancellation_aborts_the_import(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await parts_imported_after_cancel(slow, monkeypatch) < PARTS / 2


async def test_import_continues_without_the_finder(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_worker, "CREWAI", ())

    assert await parts_imported_after_cancel(slow, monkeypatch) == PARTS
