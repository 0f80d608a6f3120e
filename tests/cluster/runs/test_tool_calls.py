"""A worker is killed at each step of a tool call."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import acting, stored_state, tools_environment
from tests.cluster.harness.acting import ALWAYS, ASK, MortalWorker
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.deadlines import DEADLINE
from tests.live import PopulatedRoom
from tests.provider import Provider

# The persona, the tool, the step at which its worker is killed; the state of the call at the end,
# and how often the tool was executed.
CASES = [
    (ALWAYS, "send", "before-propose", "done", 1),
    (ALWAYS, "send", "after-propose", "done", 1),
    (ALWAYS, "send", "after-begin", "unknown", 0),
    (ALWAYS, "send", "tool", "unknown", 1),
    (ALWAYS, "look", "tool", "done", 2),
    (ALWAYS, "send", "after-finish", "done", 1),
    (ASK, "send", "after-propose", "done", 1),
    (ASK, "send", "after-wait", "done", 1),
    (ASK, "send", "before-begin", "done", 1),
    (ASK, "send", "tool", "unknown", 1),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("counts")


@pytest.fixture(scope="module")
def mortal(
    tmp_path_factory: pytest.TempPathFactory, provider: Provider, folder: Path
) -> Iterator[Cluster]:
    """A cluster whose workers answer one run at once, so that a kill interrupts no other run."""
    options = {"MARU_RUN_CONCURRENCY": "1", **tools_environment(folder)}
    with private_cluster(
        tmp_path_factory.mktemp("mortal"),
        provider.address,
        webs=1,
        workers=3,
        worker=MortalWorker,
        **options,
    ) as started:
        yield started


@pytest.fixture(scope="module")
def rooms(mortal: Cluster, provider: Provider) -> list[PopulatedRoom]:
    models = ("--model", ALWAYS, "--model", ASK)
    found = mortal.populate(len(CASES), 1, "--provider", provider.base_url, *models)
    acting.install_tools(mortal)
    return found


def test_call_survives_a_kill_at_each_step(
    mortal: Cluster, rooms: list[PopulatedRoom], folder: Path
) -> None:
    (web,) = mortal.webs
    for room, (persona, tool, step, _state, _times) in zip(rooms, CASES, strict=True):
        arguments = json.dumps({"key": f"{persona}.{tool}.{step}", "kill": step})
        text = f"@{persona} TEXT Let me see.\nUSE {tool} {arguments}"
        status, posted = web.request(
            "POST", f"/rooms/{room.id}/messages", room.members[0].token, {"text": text}
        )
        assert status == 201, posted
        assert len(posted["runs"]) == 1

    until_ended(mortal, rooms)

    calls = acting.read_calls(mortal.postgres, [room.id for room in rooms])
    executed = acting.executions(folder)
    found = {
        call.key: (call.state, executed[call.name, call.key], call.attempt > 1) for call in calls
    }
    expected = {
        f"{persona}.{tool}.{step}": (state, times, True)
        for persona, tool, step, state, times in CASES
    }
    assert found == expected
    assert list(acting.violations(calls, executed)) == []


def until_ended(cluster: Cluster, rooms: list[PopulatedRoom]) -> None:
    """Allow every call that asks, and start workers again, until all runs have ended."""
    (web,) = cluster.webs
    ends_at = time.monotonic() + 4 * DEADLINE
    while stored_state.count_unended(cluster.postgres):
        assert time.monotonic() < ends_at, acting.read_calls(
            cluster.postgres, [room.id for room in rooms]
        )
        for worker in cluster.workers:
            if worker.process is not None and worker.process.poll() is not None:
                worker.start()
        for room in rooms:
            for approval in acting.pending(web, room.members[0]):
                acting.decide(web, room.members[0], approval)
        time.sleep(0.2)
