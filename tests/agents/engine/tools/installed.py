"""Tools of CrewAI as an operator installs them; imports CrewAI, so only tests of the engine do."""

import sys
import threading
from typing import Any

from crewai.tools import BaseTool, tool
from crewai.tools.tool_failure import ToolFailure
from pydantic import BaseModel

from tests.agents.engine.answers import KEY

THREADS: list[str] = []
BLOCKED = threading.Event()


class Doubling(BaseTool):
    name: str = "Double"
    description: str = "Doubles a number."

    def _run(self, number: int) -> int:
        THREADS.append(threading.current_thread().name)
        return 2 * number


class AsyncDoubling(BaseTool):
    name: str = "Double"
    description: str = "Doubles a number."

    async def _arun(self, number: int) -> dict[str, int]:
        THREADS.append(threading.current_thread().name)
        return {"double": 2 * number}

    def _run(self, number: int) -> int:
        raise AssertionError


@tool("Greet")
async def greet(name: str) -> str:
    """Greet a person."""
    return f"Hello, {name}!"


class Answering(BaseTool):
    """Returns, or raises, what its argument names."""

    name: str = "Answer"
    description: str = "Returns something."

    def _run(self, kind: str) -> Any:
        if kind == "exit":
            sys.exit(3)
        if kind == "block":
            BLOCKED.wait()
        if kind == "error":
            raise RuntimeError(f"no route to host.internal:5432 with {KEY} at /srv/maru/x.py")
        values: dict[str, Any] = {
            "object": object(),
            "bytes": b"x",
            "none": None,
            "model": _Model(name="방"),
            "list": [1, "b"],
            "failure": ToolFailure(message="Nothing found."),
            "huge": "x" * 5_000_000,
            "control": "a\x00b\x1b[31mc\ud800\r\nd\u202ee\U000e0041f\tg",
            "cycle": _cycle(),
        }
        return values[kind]


class _Model(BaseModel):
    name: str


def _cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


NOT_A_TOOL = "text"
