"""Decides which tests share an xdist worker, and which run first. A plugin of the xdist controller.

Each worker has its own servers, browsers and clusters: modules that share one run in one worker.
The largest groups start first, because they mostly wait; small modules come last and keep
all workers busy to the end.
"""

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FIRST = ("tests/wire/", "tests/e2e/")
SHARED = {
    "server of the wire tests": r"tests/wire/",
    "server of the browser tests": r"tests/e2e/test_[a-m]",
    "another server of browser tests": r"tests/e2e/",
    "cluster": r"tests/cluster/(audit/test_(audit_log|lock_order)|"
    r"fanout/test_(removals|two_processes)|runs/test_(locked_rooms|monitoring)|"
    r"stores/test_lost_deltas)\.py",
    "fault target": r"tests/cluster/(runs/test_(frozen_workers|isolation|stops|worker_kills)|"
    r"stores/test_(outages|web_crashes))\.py",
}
"""Shared resources and the modules that share them. A module that is not listed starts its own."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Assigns a worker one module at a time, or all modules that share a resource."""

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
    """Return the index of the test's folder in `FIRST`, or the length of `FIRST`."""
    places = (place for place, folder in enumerate(FIRST) if item.nodeid.startswith(folder))
    return next(places, len(FIRST))
