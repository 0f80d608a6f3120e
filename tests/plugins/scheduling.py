"""Which tests share a process, and which begin first. A plugin, which xdist asks in the main one.

A process has its own servers, browsers and clusters: modules that share one go to the same.
The largest two begin first, each in a process: they wait much, and what computes beside them fills
that. What comes last is small, so that no process is alone at the end with a minute of work.
"""

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FIRST = ("tests/wire/", "tests/e2e/")
SHARED = {
    "server of the wire tests": r"tests/wire/",
    "server of the browser tests": r"tests/e2e/",
    "cluster": r"tests/cluster/(audit/test_(audit_log|lock_order)|"
    r"fanout/test_(removals|two_processes)|stores/test_lost_deltas)\.py",
    "fault target": r"tests/cluster/(runs/test_(frozen_workers|isolation|stops|worker_kills)|"
    r"stores/test_(outages|web_crashes))\.py",
}
"""What is shared, and which modules share it; one that is missing here starts another one."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a process a module at a time, or all modules that share something."""

    def _split_scope(self, nodeid: str) -> str:
        for shared, modules in SHARED.items():
            if re.match(modules, nodeid):
                return shared
        return nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    """Return the place of a test's folder among those that come first, or the one after them."""
    places = (place for place, folder in enumerate(FIRST) if item.nodeid.startswith(folder))
    return next(places, len(FIRST))
