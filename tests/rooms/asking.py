"""Makes calls of the tool `ask_people` and their questions."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from rooms.models import CallState, Question, Run, ToolCall
from rooms.protocol.call_words import ASK_PEOPLE


def make_call(run_id: UUID, position: int = 0) -> ToolCall:
    """Store a running call, as the journal does before it calls the function of the tool."""
    run = Run.objects.get(pk=run_id)
    run.requests.get_or_create(number=0)
    return ToolCall.objects.create(
        run=run,
        request=0,
        position=position,
        call_id=f"call_{position}",
        tool=ASK_PEOPLE,
        name="ask_people",
        title="Ask people",
        idempotent=True,
        state=CallState.RUNNING,
        attempt=run.attempt,
        started_at=timezone.now(),
    )


def make_question(run_id: UUID, *asked_of: UUID, position: int = 0) -> Question:
    """Store an open question of a run, without an event."""
    call = make_call(run_id, position)
    return Question.objects.create(
        call=call,
        room_id=call.run.room_id,
        text="CANARY?",
        asked_of=[str(user) for user in asked_of],
        expires_at=timezone.now() + timedelta(hours=1),
    )
