"""The audit log on PostgreSQL: triggers refuse changes, and concurrent writers make one chain."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import psycopg
import pytest

from tests.cluster.harness.cluster import Cluster

WRITERS = 8
CHANGES = 40


def test_concurrent_writers_make_one_hash_chain(cluster: Cluster) -> None:
    (room,) = cluster.populate(rooms=1, members=1)
    owner = room.members[0]

    def rename(number: int) -> int:
        web = cluster.webs[number % len(cluster.webs)]
        status, _ = web.request("PATCH", f"/rooms/{room.id}", owner.token, {"name": f"n{number}"})
        return status

    with ThreadPoolExecutor(WRITERS) as pool:
        statuses = set(pool.map(rename, range(CHANGES)))

    assert statuses == {HTTPStatus.OK}
    assert "BROKEN" not in cluster.manage("audit", "verify")
    _, page = cluster.webs[0].request("GET", f"/teams/{room.team}/audit?action=room.", owner.token)
    assert sum(item["action"] == "room.changed" for item in page["items"]) == CHANGES
    numbers = [item["number"] for item in page["items"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts_auditentry SET action = 'nothing'",
        "DELETE FROM accounts_auditentry",
        "TRUNCATE accounts_auditentry",
    ],
)
def test_entries_cannot_be_changed_or_deleted(cluster: Cluster, change: str) -> None:
    cluster.populate(rooms=1, members=1)

    with (
        cluster.postgres.connect() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(change)


def test_entries_can_be_deleted_only_if_their_team_does_not_exist(cluster: Cluster) -> None:
    (room,) = cluster.populate(rooms=1, members=1)
    deleted_team = "00000000-0000-7000-8000-000000000000"

    with cluster.postgres.connect() as connection:
        copied = (
            "INSERT INTO accounts_auditentry SELECT gen_random_uuid(), number, created_at,"
            " token_hint, ip, action, target_kind, target_id, before, after, refused, prev_hash,"
            " hash, actor_id, %s FROM accounts_auditentry WHERE team_id = %s"
        )
        copies = connection.execute(copied, [deleted_team, room.team]).rowcount
        deleted = connection.execute(
            "DELETE FROM accounts_auditentry WHERE team_id = %s", [deleted_team]
        ).rowcount

    assert copies == deleted > 0
