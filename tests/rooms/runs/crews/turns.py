"""Rounds of three personas, as clients and workers make them."""

from typing import Any

from agents.engine_types import AnswerFailed
from rooms import services
from rooms.models import Message, Round, Run, RunState
from rooms.runs import lifecycle
from rooms.runs.lifecycle import Job
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast


def ask(cast: Cast, text: str = "question", **options: Any) -> Round | None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text=text, **options)
    return Round.objects.filter(message=posted.message).first()


def begin(cast: Cast, text: str = "question", **options: Any) -> Round:
    round_ = ask(cast, text, **options)
    assert round_ is not None
    return round_


def start() -> Job:
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    return taken[1]


def answer(text: str) -> Message:
    """Claim the next run and complete it with this text; return the answer."""
    job = start()
    lifecycle.complete(job, text, None)
    return Message.objects.get(pk=job.message)


def fail(code: Any = "provider_unavailable") -> Run:
    job = start()
    lifecycle.fail(job, AnswerFailed(code), "")
    return Run.objects.get(pk=job.run)


def queued() -> list[str]:
    runs = Run.objects.filter(state=RunState.QUEUED).order_by("queued_at")
    return list(runs.values_list("persona__handle", flat=True))


def states(round_: Round) -> list[str]:
    round_.refresh_from_db()
    return [round_.state, *(step["state"] for step in round_.steps)]


def said(job: Job) -> list[str]:
    return [turn.text for turn in job.turns]
