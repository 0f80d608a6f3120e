"""Locks are taken in one order: nobody waits for somebody who waits for them."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE
from tests.live import until


def test_room_that_is_locked_can_be_pointed_at(cluster: Cluster) -> None:
    """Whoever invites into a room points at it when they commit, and holds the log by then."""
    (room,) = cluster.populate(rooms=1, members=1)
    owner, web = room.members[0], cluster.webs[0]

    def rename() -> int:
        status, _ = web.request("PATCH", f"/rooms/{room.id}", owner.token, {"name": "new"})
        return status

    with cluster.postgres.connect() as connection, ThreadPoolExecutor(1) as pool:

        def somebody_waits_for_the_log() -> bool:
            waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return connection.execute(waiting).rowcount > 0

        with connection.transaction():
            connection.execute("SELECT accounts_audit_lock_end(%s)", [room.team])
            renamed = pool.submit(rename)
            until(somebody_waits_for_the_log)
            pointed = "SELECT FROM rooms_room WHERE id = %s FOR KEY SHARE NOWAIT"
            assert connection.execute(pointed, [room.id]).rowcount == 1
        assert renamed.result(DEADLINE) == HTTPStatus.OK
