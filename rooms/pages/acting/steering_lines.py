"""Lines by which members steered an answer; `static/rooms/acting/steering.js` shows the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _

from accounts.models import Wood
from accounts.particles import pieces
from rooms.models import SteerState
from rooms.protocol.payloads import MemberBody, Steering


@dataclass(frozen=True, slots=True)
class SteeringLine:
    """A line with its author; `words` are the parts of a sentence."""

    id: UUID
    name: str
    wood: str
    words: list[tuple[str, str]]
    state: str
    state_words: str


def steering_lines(
    lines: Sequence[Steering], members: Mapping[UUID, MemberBody]
) -> list[SteeringLine]:
    """Return the lines to an answer, as all members see them."""
    return [
        SteeringLine(
            id=line.id,
            name=line.name,
            wood=members[line.by].wood if line.by and line.by in members else Wood.PAULOWNIA.value,
            words=steered_words(line),
            state=line.state,
            state_words=state_words(line),
        )
        for line in lines
    ]


def steered_words(line: Steering) -> list[tuple[str, str]]:
    """Return who steered the answer, and how."""
    return pieces(_("Steered by %(name)s: “%(text)s”"), {"name": line.name, "text": line.text})


def state_words(line: Steering) -> str:
    """Return what became of a line."""
    if line.state == SteerState.ACCEPTED:
        return _("taken in at the next step")
    if line.state == SteerState.FAILED:
        return _("the answer had ended")
    if not line.after:
        return _("applied")
    return _("applied after step %(number)s") % {"number": line.after}
