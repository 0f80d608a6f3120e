"""Claims and starts one run at a time, as a worker with one free slot does."""

from uuid import UUID

from rooms.models import Run
from rooms.runs import claims, context, lifecycle
from rooms.runs.claims import Claim
from rooms.runs.context import Conversation
from rooms.runs.crews.rights import bound_personas
from rooms.runs.lifecycle import Job


def claim_run(owner: str, *, idle_teams_only: bool = False) -> UUID | None:
    """Claim the next run and return its id; None if no run may start."""
    claimed = claims.claim(owner, idle_teams_only=idle_teams_only)
    return claimed[0].run if claimed else None


def start_run(run_id: UUID, owner: str) -> Job | None:
    """Start a claimed run; return None if the run has failed, or `owner` has lost it."""
    run = Run.objects.get(pk=run_id)
    jobs = lifecycle.start(owner, [Claim(run.pk, run.room_id, run.attempt)])
    return jobs[0] if jobs else None


def claim_and_start(owner: str) -> tuple[UUID, Job | None] | None:
    """Claim the next run and start it. The job is None if the run has failed at its start."""
    for claim in claims.claim(owner):
        jobs = lifecycle.start(owner, [claim])
        return claim.run, jobs[0] if jobs else None
    return None


def conversation_of(run: Run) -> Conversation:
    """Return what the model of a run gets, as its start reads it."""
    return context.conversation(run, context.read_room(run.room, bound_personas(run.room)))
