"""Asks personas step by step: queue, start, record, ask the provider through CrewAI, complete."""

from collections.abc import Sequence
from contextlib import aclosing
from uuid import UUID

from asgiref.sync import async_to_sync

from accounts.models import User
from agents import engine
from agents.engine_types import Finished, Limits
from agents.models import Persona
from agents.services import create_connection, update_persona
from rooms import services
from rooms.models import Message, Room, Run, ToolCall
from rooms.runs import lifecycle
from rooms.runs.lifecycle import Job
from rooms.runs.prompts import recorder
from tests.deadlines import DEADLINE
from tests.provider import Provider
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

KEY = "sk-CANARY-5f3a9c2d71"


def give_model(user: User, persona: Persona, provider: Provider, model: str) -> None:
    """Give a persona a connection with KEY to the stub provider, and one of its models."""
    connection = create_connection(
        user=user,
        team_id=persona.team_id,
        name=f"stub {persona.handle}",
        kind="openai",
        base_url=provider.base_url,
        key=KEY,
    )
    update_persona(user=user, persona_id=persona.pk, connection=connection.pk, model=model)


def say(user: User, room: Room, text: str, **options: object) -> Message:
    """Post a message that no persona answers."""
    sent = {"user": user, "room_id": room.pk, "text": text, "personas": [], **options}
    return services.post_message(**sent).message  # type: ignore[arg-type]  # of a test


def started(user: User, room: Room, text: str, **options: object) -> Job:
    """Ask the persona of a room, and start the run; nothing else may be queued."""
    sent = {"user": user, "room_id": room.pk, "text": text, **options}
    posted = services.post_message(**sent)  # type: ignore[arg-type]  # of a test
    run, job = claim_and_start("worker") or (None, None)
    assert job is not None
    assert [run] == posted.runs
    recorder.record([job])
    return job


@async_to_sync
async def stream(job: Job) -> Finished:
    """Return the answer of the model of a job, through CrewAI and HTTP."""
    parts = engine.answer(
        job.spec, job.turns, limits=Limits(seconds=DEADLINE), room=job.surroundings
    )
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Finished):
                return part
    raise AssertionError("the answer has no end")


def answered(user: User, room: Room, text: str, **options: object) -> Run:
    """Ask the persona of a room and complete its run; return the run."""
    job = started(user, room, text, **options)
    finished = stream(job)
    lifecycle.complete(job, finished.text, finished.usage)
    return Run.objects.select_related("answer", "persona").get(pk=job.run)


def talk(cast: Cast, count: int, text: str = "turn") -> list[Message]:
    """Let people write numbered messages in turn."""
    people = (cast.owner, cast.member, cast.moderator)
    return [say(people[n % 3], cast.room, f"{text} {n}") for n in range(count)]


def texts(job: Job) -> Sequence[str]:
    """Return the texts of the turns of a job."""
    return [turn.text for turn in job.turns]


def all_of(calls: Sequence[ToolCall]) -> set[UUID]:
    """Let the reader of a record see all calls."""
    return {call.pk for call in calls}
