"""A worker continues after its leases have expired, and a process hangs while it holds a lock."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.runs.worker_faults import freeze_workers
from tests.chaos.target import Target
from tests.live import ROOT

LOCK_ROOM = """
from maru.config import postgres
postgres.end_stalled_sessions()  # as in a process that serves users
from django.db import transaction
from rooms.models import Room
import time
with transaction.atomic():
    Room.objects.select_for_update().get(pk="{room}")
    print("locked", flush=True)
    time.sleep(600)
"""


async def test_results_of_a_worker_that_lost_its_leases_are_refused(target: Target) -> None:
    outcome = await freeze_workers(target, rounds=1, runs=16)

    assert outcome.violations == []
    assert outcome.figures["taken over"] >= 3


async def test_message_is_accepted_although_a_hanging_process_holds_the_lock_of_the_room(
    target: Target,
) -> None:
    room = target.rooms[0].id
    async with target.clients() as clients:
        with locked(target, room) as hanging:
            result = await clients.any_in(room).send_message("Does this arrive?")
            was_running = hanging.poll() is None

    assert result["message"]
    assert was_running


@contextmanager
def locked(target: Target, room: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that has locked the row of the room and does not end."""
    code = LOCK_ROOM.format(room=room)
    with subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "shell", "-v", "0", "-c", code],
        env=target.cluster.webs[0].env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == b"locked\n"
        try:
            yield hanging
        finally:
            hanging.kill()
