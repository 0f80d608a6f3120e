"""The REST endpoints of what models get of a room: the prompts of runs, and the summary."""

from functools import partial
from uuid import UUID

from msgspec import Struct

from accounts.api.routing import Gate, Routes
from accounts.fields import Timestamp, format_timestamp
from accounts.models import User
from rooms.models import Room, Run
from rooms.permissions import VIEW, access_prompt, access_room
from rooms.runs.prompts.recorded import SentRequest, requests_of
from rooms.services import may_see

routes = Routes("messages")


class PromptBody(Struct, frozen=True):
    """What a run has sent to its model; no request after 30 days."""

    run: UUID
    requests: list[SentRequest]


class SummaryBody(Struct, frozen=True, kw_only=True):
    """What a model has written about the messages of a room up to a seq.

    `text` is empty without a summary. The tokens are those of all summaries of the last 30 days.
    """

    room: UUID
    text: str
    up_to_seq: int
    persona: UUID | None
    written_at: Timestamp | None
    input_tokens: int
    output_tokens: int


@routes.add(
    "GET /runs/{uuid:run_id}/prompt",
    Gate(access_prompt),
    summary="Get what a run has sent to its model, for people who may edit the persona",
)
def get_prompt(user: User, run: Run) -> PromptBody:
    """A text that was deleted or changed since is left out, with `removed` set.

    So are the arguments and the results of calls that the user may not see.
    """
    return PromptBody(run=run.pk, requests=requests_of(run, partial(may_see, user, run.room, run)))


@routes.add(
    "GET /rooms/{uuid:room_id}/summary",
    Gate(access_room, VIEW),
    summary="Get the summary of the messages that are too old for personas to read",
)
def get_summary(user: User, room: Room) -> SummaryBody:
    summary, used = room.summaries.current(), room.summaries.tokens()
    return SummaryBody(
        room=room.pk,
        text=summary.text if summary else "",
        up_to_seq=summary.up_to_seq if summary else 0,
        persona=summary.persona_id if summary else None,
        written_at=format_timestamp(summary.written_at) if summary and summary.written_at else None,
        input_tokens=used[0],
        output_tokens=used[1],
    )
