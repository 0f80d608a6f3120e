"""Locks are taken in one order, so that transactions do not deadlock."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE
from tests.live import until


def test_foreign_key_to_a_locked_room_can_be_checked(cluster: Cluster) -> None:
    """An invitation checks its key to the room at commit, while it holds the audit lock."""
    (room,) = cluster.populate(rooms=1, members=1)
    owner, web = room.members[0], cluster.webs[0]

    def rename() -> int:
        status, _ = web.request("PATCH", f"/rooms/{room.id}", owner.token, {"name": "new"})
        return status

    with cluster.postgres.connect() as connection, ThreadPoolExecutor(1) as pool:

        def a_transaction_waits_for_the_log() -> bool:
            waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return connection.execute(waiting).rowcount > 0

        with connection.transaction():
            connection.execute("SELECT accounts_audit_lock_end(%s)", [room.team])
            renamed = pool.submit(rename)
            until(a_transaction_waits_for_the_log)
            key_share = "SELECT FROM rooms_room WHERE id = %s FOR KEY SHARE NOWAIT"
            assert connection.execute(key_share, [room.id]).rowcount == 1
        assert renamed.result(DEADLINE) == HTTPStatus.OK


def test_deactivation_waits_for_transactions_that_add_the_person_and_never_deadlocks(
    cluster: Cluster,
) -> None:
    script = "from tests.cluster.audit.deactivation_races import main; main()"

    printed = cluster.manage("shell", "--verbosity", "0", "--command", script)

    assert printed.splitlines() == ["done"]
