"""A worker that was frozen goes on when its runs are somebody else's."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.runs.worker_faults import freeze_workers
from tests.chaos.target import Stage
from tests.live import ROOT

HOLD = """
from django.db import transaction
from rooms.models import Room
import time
with transaction.atomic():
    Room.objects.select_for_update().get(pk="{room}")
    print("held", flush=True)
    time.sleep(600)
"""


async def test_nothing_of_a_worker_that_was_taken_over_is_accepted(stage: Stage) -> None:
    outcome = await freeze_workers(stage, rounds=1, runs=16)

    assert outcome.complaints == []
    assert outcome.figures["taken over"] >= 3


async def test_whoever_hangs_while_it_holds_a_room_does_not_keep_the_others_out(
    stage: Stage,
) -> None:
    room = stage.rooms[0].id
    async with stage.audience() as gathered:
        with held(stage, room) as hanging:
            said = await gathered.anybody(room).say("Is anybody there?")
            still_there = hanging.poll() is None

    assert said["message"]
    assert still_there


@contextmanager
def held(stage: Stage, room: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has locked the room, and hangs."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "shell", "-v", "0", "-c", HOLD.format(room=room)],
        env=stage.cluster.webs[0].env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == b"held\n"
        yield hanging
        hanging.kill()
