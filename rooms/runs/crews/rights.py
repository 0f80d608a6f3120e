"""Who may ask whom: the rights that a run needs when it is queued, started and resumed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import UUIDField

from accounts.database.prepared_queries import PreparedQuery
from agents.engine_types import AnswerFailed
from agents.permissions import USE, holders_of
from rooms.models import Room, RoomPersona, Run
from rooms.permissions import POST, users_with
from rooms.protocol.failures import (
    ASKER_DELETED,
    ASKER_MAY_NOT_POST,
    ASKER_MAY_NOT_USE,
    PERSONA_OFF,
    PERSONA_UNBOUND,
)


@dataclass(frozen=True, slots=True)
class _Rights:
    """Who may ask in a room: users who may post, pairs of user and persona, bound personas."""

    may_post: Collection[UUID]
    may_use: Collection[tuple[UUID, UUID]]
    bound: Collection[UUID]

    def refusal(self, run: Run) -> str | None:
        """Return the reason why the run may not be answered, or None."""
        asker = run.requested_by_id
        if asker is None:
            return ASKER_DELETED
        if asker not in self.may_post:
            return ASKER_MAY_NOT_POST
        if (asker, run.persona_id) not in self.may_use:
            return ASKER_MAY_NOT_USE
        if not run.persona.enabled:
            return PERSONA_OFF
        return None if run.persona_id in self.bound else PERSONA_UNBOUND


class BoundPersona(NamedTuple):
    """A persona that is bound to a room."""

    id: UUID
    name: str
    handle: str
    role: str
    enabled: bool


def bound_personas(room: Room) -> list[BoundPersona]:
    """Return the personas of a room; one query."""
    return [BoundPersona(*row) for row in _BOUND(room=room.pk)]


def unauthorized(
    room: Room, runs: Collection[Run], bound: Collection[BoundPersona] | None = None
) -> dict[Run, AnswerFailed]:
    """Return the runs that may not be answered, each with the reason; three queries in all.

    Either the asker has lost the right to ask, or the persona may not answer. `bound` are the
    personas of the room, if the caller has read them under the lock of the room.
    """
    if not runs:
        return {}
    askers = {run.requested_by_id for run in runs if run.requested_by_id}
    personas = {run.persona_id for run in runs}
    rights = _Rights(
        may_post=users_with(POST, room, askers),
        may_use=holders_of(USE, askers, personas),
        bound={persona.id for persona in (bound_personas(room) if bound is None else bound)},
    )
    reasons = {run: rights.refusal(run) for run in runs}
    return {run: not_allowed(run, reason) for run, reason in reasons.items() if reason}


def not_allowed(run: Run, reason: str) -> AnswerFailed:
    """Return the failure of a run that may not be answered, for a reason of `protocol.failures`."""
    return AnswerFailed("not_allowed", reason, persona=run.persona.name)


_BOUND: Final = PreparedQuery(
    lambda room: (
        RoomPersona.objects.filter(room=room)
        .order_by("persona__handle")
        .values_list(
            *("persona_id", "persona__name", "persona__handle"),
            *("persona__role", "persona__enabled"),
        )
    ),
    room=UUIDField(),
)
