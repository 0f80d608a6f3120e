"""A run ends when the permission for it ends, queued or running."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from tests.chaos.target import SLOW, AskedRun, Outcome, Target, ask, poll
from tests.cluster.harness import stored_state
from tests.cluster.harness.recording_client import RecordingClients, gather_or_cancel
from tests.live import PopulatedRoom

SLOTS = 3
"""Run slots of each of the two workers: so few that runs wait in the queue."""

DISABLE_PERSONA = """
from accounts.models import User
from agents.services import set_persona_enabled
set_persona_enabled(user=User.objects.get(pk="{user}"), persona_id="{persona}", enabled=False)
"""


async def revoke_permissions(target: Target) -> Outcome:
    """Remove the asker, unbind the persona, disable the persona: each in a room of its own.

    Each room has a running and a queued run at that moment. Both must fail with `not_allowed`. The
    target's workers have SLOTS run slots each.
    """
    removed, unbound, disabled, busy = target.rooms[:4]
    affected = (removed, unbound, disabled)
    async with target.clients() as clients:
        running = await _ask(clients, affected)
        filling = await _ask(clients, [busy] * SLOTS)
        await gather_or_cancel(one.until_streaming() for one in (*running, *filling))
        queued = await _ask(clients, affected)
        states = {run.id: run.state for run in (await asyncio.to_thread(target.read_state)).runs}

        revoked: dict[str, datetime] = {}
        for room, revoke in zip(affected, (_remove, _unbind, _disable), strict=True):
            persona = clients.by_room[room.id][0].persona(SLOW)
            await asyncio.to_thread(revoke, target, room, persona)
            runs = (one.run for one in (*running, *queued) if one.client.room == room.id)
            revoked.update(dict.fromkeys(runs, datetime.now(UTC)))
        await poll(lambda: stored_state.count_unended(target.cluster.postgres) == 0)
        owners = {room: members[:1] for room, members in clients.by_room.items()}
        outcome = await target.check(RecordingClients(owners))
        outcome.violations += clients.by_room[removed.id][1].violations
    waits = _check_revoked(target, revoked, outcome)
    outcome.figures |= {
        "permission revoked while queued": sum(states[one.run] == "queued" for one in queued),
        "permission revoked while running": sum(states[one.run] == "running" for one in running),
        "revocation to end of run, longest (s)": max(waits),
    }
    return outcome


async def _ask(clients: RecordingClients, rooms: Iterable[PopulatedRoom]) -> list[AskedRun]:
    """Have the second member of each room, who is not the owner, ask for a slow answer."""
    return [await ask(clients.by_room[room.id][1], SLOW) for room in rooms]


def _check_revoked(target: Target, revoked: dict[str, datetime], outcome: Outcome) -> list[float]:
    """Add a violation for each run with another end; return the seconds from revocation to end."""
    waits = []
    for run in target.read_state().runs:
        if run.id in revoked:
            assert run.ended_at is not None
            waits.append(max((run.ended_at - revoked[run.id]).total_seconds(), 0.0))
            if (run.state, run.error) != ("failed", "not_allowed"):
                outcome.violations.append(f"run {run.id} is {run.state} {run.error}")
    return waits


def _remove(target: Target, room: PopulatedRoom, persona: str) -> None:
    _delete(target, room, f"members/{room.members[1].user}")


def _unbind(target: Target, room: PopulatedRoom, persona: str) -> None:
    _delete(target, room, f"personas/{persona}")


def _disable(target: Target, room: PopulatedRoom, persona: str) -> None:
    """Disable the persona as the owner of the team, who is the owner of its first room."""
    code = DISABLE_PERSONA.format(user=target.rooms[0].members[0].user, persona=persona)
    target.cluster.manage("shell", "--verbosity", "0", "-c", code)


def _delete(target: Target, room: PopulatedRoom, path: str) -> None:
    owner = room.members[0].token
    status, body = target.cluster.webs[0].request("DELETE", f"/rooms/{room.id}/{path}", owner)
    assert status == 204, body
