"""Every line of the log is JSON, also those of libraries, and quotes no text of an exception."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT

CANARY = "C4n4ry"
# Each of these writes to standard error in its own way.
SOURCES = {
    "structlog": "structlog.get_logger('x').warning('event', n=1, at=object())",
    "exception": (
        "try:\n    raise ValueError(SECRET)\nexcept ValueError:\n    log.exception('failed')"
    ),
    "structlog exception": (
        "try:\n    raise KeyError(SECRET)\n"
        "except KeyError:\n    structlog.get_logger('x').exception('failed')"
    ),
    "cause": (
        "try:\n    try:\n        raise ValueError(SECRET)\n"
        "    except ValueError as error:\n        raise RuntimeError(SECRET) from error\n"
        "except RuntimeError:\n    log.exception('failed')"
    ),
    "group": (
        "try:\n    raise ExceptionGroup(SECRET, [ValueError(SECRET), OSError(5, SECRET)])\n"
        "except ExceptionGroup:\n    log.exception('failed')"
    ),
    "library": "logging.getLogger('psycopg.pool').warning('a %s\\nb', 'c')",
    "wrong arguments": "log.warning('%d', 'x')",
    "object that cannot be shown": "log.warning('x', extra={'y': Broken()})",
    "warning": "warnings.warn('deprecated\\nin two lines', DeprecationWarning)",
    "thread": "t = threading.Thread(target=fail); t.start(); t.join()",
    "task": "asyncio.run(lose_task())",
    "destructor": "x = Destroyed(); del x",
    "captured error of uvicorn": (
        "logging.getLogger('uvicorn.error').error('Exception in ASGI application\\n')"
    ),
    "surrogate": "log.warning('\\udcff')",
    "uncaught": "fail()",
}
SCRIPT = """
import asyncio, gc, logging, os, sys, threading, warnings
from maru.config import logs
logs.configure(as_json=True, level="DEBUG")
import structlog
log = logging.getLogger("x")
SECRET = os.environ["SECRET"]
warnings.simplefilter("always")

def fail():
    raise ValueError(SECRET)

async def lose_task():
    async def inner():
        fail()
    task = asyncio.create_task(inner(), name="inner")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()

class Destroyed:
    def __del__(self):
        fail()

class Broken:
    def __repr__(self):
        fail()

{source}
"""


def lines_of(source: str, folder: Path) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{source}", source)],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "SECRET": CANARY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert CANARY not in done.stdout + done.stderr
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_source_writes_json_without_the_text_of_exceptions(tmp_path: Path) -> None:
    # One process for all sources: a start costs more than a source.
    *sources, uncaught = SOURCES.values()
    lines = lines_of("\n".join([*sources, uncaught]), tmp_path)

    events = [line["event"] for line in lines]
    assert {"failed", "thread.crashed", "python.unraisable", "process.crashed"} <= set(events)
    assert "Exception in ASGI application" in events
    assert events.count("log.unformatted") == 2
    assert "Task exception was never retrieved" in events
    assert any("DeprecationWarning" in str(event) for event in events)
    assert len(lines) >= len(SOURCES)
    tracebacks = [str(line["exception"]) for line in lines if "exception" in line]
    assert any("ValueError" in text and "RuntimeError" in text for text in tracebacks)
    assert any("(errno 5)" in text for text in tracebacks)


def test_text_of_an_exception_about_code_is_kept(tmp_path: Path) -> None:
    (line,) = lines_of("from maru.config import nothing", tmp_path)

    assert "cannot import name 'nothing'" in str(line["exception"])


def test_source_that_prints_text_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        lines_of("print(SECRET, file=sys.stderr)", tmp_path)
    with pytest.raises(json.JSONDecodeError):
        lines_of("print('text', file=sys.stderr)", tmp_path)
