"""The REST endpoints of votes on answers."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from accounts.api.bodies import Body
from accounts.api.pagination import Cursor, Limit, Page, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict
from accounts.fields import Timestamp, format_timestamp
from accounts.models import User
from agents.models import Persona
from agents.permissions import EDIT, access_persona
from rooms import queries, services
from rooms.models import Message, Room, Vote
from rooms.permissions import POST, VIEW, access_message, access_room
from rooms.protocol.payloads import Votes

routes = Routes("messages")


class VoteUpdate(Body, frozen=True):
    """A vote on an answer; 0 removes it. Editors of the persona can read the note."""

    value: Annotated[int, Meta(ge=-1, le=1)]
    note: Annotated[str, Meta(max_length=400)] = ""


class OwnVoteBody(Struct, frozen=True):
    """A vote of the current user."""

    id: int
    message: UUID
    value: int


class OpinionBody(Struct, frozen=True):
    """A vote on an answer of a persona, without its author and its room.

    `version` is the number of the version of the persona that answered.
    """

    id: int
    value: int
    note: str
    version: int | None
    created_at: Timestamp


@routes.add(
    "PUT /messages/{uuid:message_id}/vote",
    Gate(access_message, POST),
    errors=(Conflict,),
    summary="Set the vote of the current user on an answer",
)
def put_vote(user: User, message: Message, body: VoteUpdate) -> Votes:
    voted = services.vote(user=user, message_id=message.pk, value=body.value, note=body.note)
    return Votes(up=voted.votes_up, down=voted.votes_down, mine=body.value)


@routes.add(
    "GET /rooms/{uuid:room_id}/votes",
    Gate(access_room, VIEW),
    summary="List the votes of the current user in a room, newest first",
)
def get_own_votes(
    user: User, room: Room, limit: Limit = 50, cursor: Cursor = None
) -> Page[OwnVoteBody]:
    return page_of(
        Vote.objects.filter(user=user, message__room=room).only("message", "value"),
        lambda votes: [OwnVoteBody(each.pk, each.message_id, each.value) for each in votes],
        limit=limit,
        cursor=cursor,
    )


@routes.add(
    "GET /personas/{uuid:persona_id}/votes",
    Gate(access_persona, EDIT),
    summary="List the votes on the answers of a persona, newest first",
)
def get_opinions(
    user: User, persona: Persona, limit: Limit = 50, cursor: Cursor = None
) -> Page[OpinionBody]:
    return page_of(
        queries.opinions_on(persona),
        lambda votes: [_opinion_body(each) for each in votes],
        limit=limit,
        cursor=cursor,
    )


def _opinion_body(vote: Vote) -> OpinionBody:
    return OpinionBody(
        id=vote.pk,
        value=vote.value,
        note=vote.note,
        version=vote.message.persona_version,
        created_at=format_timestamp(vote.created_at),
    )
