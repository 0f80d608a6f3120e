"""Clusters of processes, clients that record what they receive, and the oracle that checks both."""

from pathlib import Path

SECRET_KEY = "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz"
WITHOUT_STORES = {
    "MARU_DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    "MARU_REDIS_URL": "redis://127.0.0.1:1/0",
    "MARU_SECRET_KEY": SECRET_KEY,
}
"""The settings of a production process that connects to no store."""
COUNTED_TOOLS = "MARU_COUNTED_TOOLS"
"""The environment variable of workers with the folder of the counts of `counted_tools`."""


def tools_environment(folder: Path) -> dict[str, str]:
    """Return the environment of workers with tools that count their executions in `folder`."""
    module = f"{__name__}.counted_tools"
    return {COUNTED_TOOLS: str(folder), "MARU_TOOLS": f"{module}:Look,{module}:Send"}
