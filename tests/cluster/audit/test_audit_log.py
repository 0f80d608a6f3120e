"""The audit on PostgreSQL: the database itself refuses changes, and one chain has many writers."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import psycopg
import pytest

from tests.cluster.harness.cluster import Cluster

WRITERS = 8
CHANGES = 40


def test_many_writers_make_one_chain(cluster: Cluster) -> None:
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
def test_what_is_written_stays(cluster: Cluster, change: str) -> None:
    cluster.populate(rooms=1, members=1)

    with (
        cluster.postgres.connect() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(change)


def test_log_of_a_team_goes_with_its_team_only(cluster: Cluster) -> None:
    (room,) = cluster.populate(rooms=1, members=1)
    gone = "00000000-0000-7000-8000-000000000000"

    with cluster.postgres.connect() as connection:
        copied = (
            "INSERT INTO accounts_auditentry SELECT gen_random_uuid(), number, created_at,"
            " token_hint, ip, action, target_kind, target_id, before, after, refused, prev_hash,"
            " hash, actor_id, %s FROM accounts_auditentry WHERE team_id = %s"
        )
        made = connection.execute(copied, [gone, room.team]).rowcount
        deleted = connection.execute(
            "DELETE FROM accounts_auditentry WHERE team_id = %s", [gone]
        ).rowcount

    assert made == deleted > 0
