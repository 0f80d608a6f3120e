"""Who answers a message: the rules of a room's answer policy."""

from collections.abc import Collection, Sequence
from uuid import UUID

from accounts.errors import NotFound
from accounts.models import User
from agents.models import Persona
from agents.permissions import usable_by
from rooms.models import AnswerPolicy, Room


def personas_asked(
    room: Room,
    user: User,
    mentioned: Collection[str],
    answered: UUID | None,
    named: Collection[UUID] | None,
) -> list[Persona]:
    """Return the personas that answer `user`, in the order in which they were bound to the room.

    Those that the user may not ask are as if they were not there. `mentioned` are the handles that
    the page shows as mentions, `answered` is the persona that is replied to. `named` overrides the
    policy: an empty collection asks nobody. Raises NotFound if it names one that is not bound to
    the room.
    """
    bound = list(usable_by(user, room.personas.order_by("bindings__pk")))
    if named is not None:
        return _named(bound, named)
    if room.answer_policy == AnswerPolicy.OFF:
        return []
    addressed = [persona for persona in bound if persona.handle in mentioned]
    if addressed or room.answer_policy == AnswerPolicy.MENTION:
        return addressed
    if room.answer_policy == AnswerPolicy.THREAD:
        return [persona for persona in bound if persona.pk == answered]
    default = [persona for persona in bound if persona.pk == room.default_persona_id]
    return default or [persona for persona in bound if persona.enabled][:1]


def _named(bound: Sequence[Persona], named: Collection[UUID]) -> list[Persona]:
    asked = [persona for persona in bound if persona.pk in named]
    if len(asked) != len(set(named)):
        raise NotFound
    return asked
