"""Decides which personas answer a message, by the answer policy of the room."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from django.db.models import UUIDField

from accounts.database.prepared_queries import PreparedQuery
from accounts.errors import NotFound
from accounts.models import User
from agents.models import Persona
from agents.permissions import usable_by
from rooms.markup import parse
from rooms.models import AnswerPolicy, Room
from rooms.protocol.commands import TEXT_LIMIT

_USABLE: Final = PreparedQuery(
    lambda user, room: usable_by(
        user, Persona.objects.filter(bindings__room=room).order_by("bindings__pk")
    ),
    user=UUIDField(),
    room=UUIDField(),
)
"""The personas of a room that a user may use, in the order in which they were bound."""


def responders(
    room: Room,
    user: User,
    *,
    mentioned: Collection[str],
    replied_to: UUID | None,
    named: Collection[UUID] | None,
    mentions_first: bool = False,
) -> list[Persona]:
    """Return the personas that answer `user`, in the order in which they were bound to the room.

    Personas that the user may not use are left out. `mentioned` are the handles that the page shows
    as mentions; `replied_to` is the persona whose message the user replies to. `named` overrides
    the policy: with an empty collection, no persona answers. With `mentions_first`, mentioned
    personas override a `named` that is not empty. Raises NotFound if `named` has a persona that is
    not bound to the room.
    """
    bound = _USABLE(user=user.pk, room=room.pk)
    addressed = [persona for persona in bound if persona.handle in mentioned]
    if named is not None:
        selected = [persona for persona in bound if persona.pk in named]
        if len(selected) != len(set(named)):
            raise NotFound
        return (mentions_first and selected and addressed) or selected
    if room.answer_policy == AnswerPolicy.OFF:
        return []
    if addressed or room.answer_policy == AnswerPolicy.MENTION:
        return addressed
    if room.answer_policy == AnswerPolicy.THREAD:
        return [persona for persona in bound if persona.pk == replied_to]
    default = [persona for persona in bound if persona.pk == room.default_persona_id]
    return default or [persona for persona in bound if persona.enabled][:1]


def preview(
    room: Room,
    user: User,
    text: str,
    named: Collection[UUID] | None,
    *,
    mentions_first: bool,
) -> list[UUID]:
    """Return the personas that would answer `text` if `user` posted it. Raises NotFound."""
    rendered = parse(text[:TEXT_LIMIT]).in_room(room.handles)
    answering = responders(
        room,
        user,
        mentioned=rendered.mentioned,
        replied_to=None,
        named=named,
        mentions_first=mentions_first,
    )
    return [persona.pk for persona in answering]
