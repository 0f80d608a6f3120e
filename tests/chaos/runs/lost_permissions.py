"""Answers whose right ends while they wait or are being said: RUN-16."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from tests.chaos.target import SLOW, Asked, Outcome, Stage, ask, eventually
from tests.cluster.harness import stored_state as book
from tests.cluster.harness.recording_client import Audience, together
from tests.live import PopulatedRoom

SLOTS = 3
"""In each of two workers: so few that something waits."""

DISABLE = """
from accounts.models import User
from agents.services import set_persona_enabled
set_persona_enabled(user=User.objects.get(pk="{user}"), persona_id="{persona}", enabled=False)
"""


async def take_rights(stage: Stage) -> Outcome:
    """Remove the asker, unbind the persona, switch it off: from then on nobody answers.

    The stage has SLOTS slots in each worker.
    """
    removed, unbound, disabled, busy = stage.rooms[:4]
    victims = (removed, unbound, disabled)
    async with stage.audience() as gathered:
        running = await _ask(gathered, victims)
        filling = await _ask(gathered, [busy] * SLOTS)
        await together(one.begun() for one in (*running, *filling))
        waiting = await _ask(gathered, victims)
        states = {run.id: run.state for run in (await asyncio.to_thread(stage.read)).runs}

        taken: dict[str, datetime] = {}
        for room, take in zip(victims, (_remove, _unbind, _disable), strict=True):
            await asyncio.to_thread(take, stage, room, gathered.witnesses[room.id][0].persona(SLOW))
            those = (one.run for one in (*running, *waiting) if one.witness.room == room.id)
            taken.update(dict.fromkeys(those, datetime.now(UTC)))
        await eventually(lambda: book.unended(stage.cluster.postgres) == 0)
        owners = {room: witnesses[:1] for room, witnesses in gathered.witnesses.items()}
        outcome = await stage.verdict(Audience(owners))
        outcome.complaints += gathered.witnesses[removed.id][1].complaints
    waits = _judge(stage, taken, outcome)
    outcome.figures |= {
        "lost their right while queued": sum(states[one.run] == "queued" for one in waiting),
        "lost their right while running": sum(states[one.run] == "running" for one in running),
        "right lost to end, longest (s)": max(waits),
    }
    return outcome


async def _ask(gathered: Audience, rooms: Iterable[PopulatedRoom]) -> list[Asked]:
    """Have a member of each of these rooms, who owns nothing, ask for a slow answer."""
    return [await ask(gathered.witnesses[room.id][1], SLOW) for room in rooms]


def _judge(stage: Stage, taken: dict[str, datetime], outcome: Outcome) -> list[float]:
    """Complain of what did not fail for this reason; return how long after the loss each ended."""
    waits = []
    for run in stage.read().runs:
        if run.id in taken:
            assert run.ended_at is not None
            waits.append(max((run.ended_at - taken[run.id]).total_seconds(), 0.0))
            if (run.state, run.error) != ("failed", "not_allowed"):
                outcome.complaints.append(f"run {run.id} is {run.state} {run.error}")
    return waits


def _remove(stage: Stage, room: PopulatedRoom, persona: str) -> None:
    _delete(stage, room, f"members/{room.members[1].user}")


def _unbind(stage: Stage, room: PopulatedRoom, persona: str) -> None:
    _delete(stage, room, f"personas/{persona}")


def _disable(stage: Stage, room: PopulatedRoom, persona: str) -> None:
    """The owner of a team's first room owns the team, and with it the personas."""
    code = DISABLE.format(user=stage.rooms[0].members[0].user, persona=persona)
    stage.cluster.manage("shell", "--verbosity", "0", "-c", code)


def _delete(stage: Stage, room: PopulatedRoom, what: str) -> None:
    owner = room.members[0].token
    status, body = stage.cluster.webs[0].request("DELETE", f"/rooms/{room.id}/{what}", owner)
    assert status == 204, body
