"""Tools that count their executions in a file, for workers that are killed during a call.

A worker imports this module, because the operator has installed the tools; nothing else does.
"""

import os
from pathlib import Path

from crewai.tools import BaseTool

from tests.cluster.harness import COUNTED_TOOLS


def count(tool: str, key: str) -> str:
    """Append the execution of a tool; the line is written as a whole."""
    with (Path(os.environ[COUNTED_TOOLS]) / "executions").open("ab", buffering=0) as counts:
        counts.write(f"{tool} {key}\n".encode())
    return f"{tool} of {key} is done"


class Look(BaseTool):
    """A tool that may be repeated."""

    name: str = "look"
    description: str = "Looks at something."
    changes: bool = False
    idempotent: bool = True

    def _run(self, key: str, kill: str = "") -> str:
        return count("look", key)


class Send(BaseTool):
    """A tool that must not be repeated."""

    name: str = "send"
    description: str = "Sends something."

    def _run(self, key: str, kill: str = "") -> str:
        return count("send", key)
