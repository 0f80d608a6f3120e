"""A room that a long transaction has locked delays no other room."""

import time

import pytest

from rooms.runs.runner import POLL_SECONDS
from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE
from tests.live import PopulatedRoom, until

LOCK = "SELECT id FROM rooms_room WHERE id = %s FOR NO KEY UPDATE"
LOSE_LEASE = """
    UPDATE rooms_run SET state = 'running', ended_at = NULL, lease_owner = 'a worker that is gone',
                         lease_until = now() - interval '1 hour', attempt = 1
    WHERE id = %s
"""


@pytest.fixture
def rooms(cluster: Cluster) -> list[PopulatedRoom]:
    provider = f"http://{cluster.webs[0].env['MARU_EGRESS_ALLOW']}/v1"
    return cluster.populate(2, 1, "--provider", provider, "--model", "echo")


def ask(cluster: Cluster, room: PopulatedRoom) -> str:
    """Post a question and return the id of its run."""
    path, body = f"/rooms/{room.id}/messages", {"text": "Are you there?"}
    _status, posted = cluster.webs[0].request("POST", path, room.members[0].token, body)
    (run,) = posted["runs"]
    return str(run)


def wait_for_answer(cluster: Cluster, room: PopulatedRoom, run: str) -> None:
    path, token = f"/runs/{run}", room.members[0].token
    until(lambda: cluster.webs[0].request("GET", path, token)[1]["state"] == "completed", DEADLINE)


def test_run_without_a_lease_waits_for_its_locked_room_and_other_rooms_do_not(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    locked, other = rooms
    lost = ask(cluster, locked)
    wait_for_answer(cluster, locked, lost)
    with (
        cluster.postgres.connect() as connection,
        cluster.postgres.connect() as holder,
        holder.transaction(),
    ):
        holder.execute(LOCK, [locked.id])
        connection.execute(LOSE_LEASE, [lost])

        began = time.monotonic()
        while time.monotonic() - began < 3 * POLL_SECONDS:  # the worker looks for lost leases
            wait_for_answer(cluster, other, ask(cluster, other))

    wait_for_answer(cluster, locked, lost)
