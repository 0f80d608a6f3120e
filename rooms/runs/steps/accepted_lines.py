"""Steering: lines that members post to an answer while it is being made.

A line is `accepted` when it is posted, and `applied` by the owner of the run at the next boundary
between two requests to the model: the next request contains it, and so does each later attempt. A
line that is still accepted when its run ends has `failed`. All changes hold the lock of the room,
so a run ends either before a line is posted, or with the line applied or failed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from accounts.errors import Conflict
from accounts.fields import format_timestamp
from accounts.models import User
from agents.engine_types import Turn
from agents.tool_types import Steering
from rooms.event_log import record
from rooms.models import Message, ModelRequest, Room, Run, Steer, SteerState
from rooms.protocol.events import MessageUpdated
from rooms.protocol.serializers import message_body
from rooms.runs.notifications import notify_steered

MAX_LINES: Final = 10
"""The maximum number of lines to one run."""
MAX_CHARACTERS: Final = 2_000
"""The maximum number of characters of a line."""


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request to the model that asked for no tools: its number in the run, text and tokens."""

    number: int
    text: str
    tokens: tuple[int, int] | None


def add(room: Room, run: Run, user: User, text: str) -> Steer:
    """Accept a line to an active run, which the caller has locked together with its room.

    Raises Conflict after MAX_LINES. A run that has no answer yet shows the line when it starts.
    """
    if run.steering.count() >= MAX_LINES:
        raise Conflict(_("This answer was steered 10 times. Wait until it ends, then reply to it."))
    line = Steer.objects.create(
        run=run, user=user, author_name=user.name, author_handle=user.handle, text=text
    )
    if run.answer is not None:
        run.answer.steered = [*(run.answer.steered or ()), _shown(line)]
        _record(room, run, run.answer)
    notify_steered()
    return line


def apply_at_start(run: Run) -> tuple[list[Steer], list[Steer]]:
    """Apply the accepted lines of a locked run that starts an attempt, after its last request.

    Return all applied lines, and those that were applied now; the caller shows the latter in the
    answer. No query for a run without lines.
    """
    if not run.is_steered and (run.answer is None or not run.answer.steered):
        return [], []
    lines = list(run.steering.exclude(state=SteerState.FAILED))
    accepted = [line for line in lines if line.state == SteerState.ACCEPTED]
    last = run.requests.aggregate(last=Max("number"))["last"] if accepted else None
    _apply(accepted, last)
    return lines, accepted


def take(room: Room, run: Run, after: int | EndedRequest) -> list[Steer]:
    """Apply the accepted lines of a run after a request, show them, and return them.

    The caller owns the run and has locked it together with its room. `after` is the number of a
    stored request, or a request that is stored here if there are lines.
    """
    if not run.is_steered or run.answer is None:
        return []
    lines = list(run.steering.filter(state=SteerState.ACCEPTED))
    if isinstance(after, EndedRequest):
        tokens = after.tokens or (None, None)
        stored = {"text": after.text, "input_tokens": tokens[0], "output_tokens": tokens[1]}
        ModelRequest.objects.get_or_create(run=run, number=after.number, defaults=stored)
        after = after.number
    _apply(lines, after)
    show_applied(run.answer, lines)
    _record(room, run, run.answer)
    return lines


def show_applied(answer: Message, lines: Iterable[Steer]) -> None:
    """Set in `answer.steered` that lines are applied after the steps so far; the caller saves it.

    Lines that were accepted before the answer existed are added.
    """
    shown = {each["id"]: each for each in answer.steered or ()}
    for line in lines:
        shown[str(line.pk)] = _shown(line, after=len(answer.steps or ()))
    answer.steered = list(shown.values())


def fail(runs: Iterable[Run]) -> None:
    """Set that the accepted lines of runs that end have failed; the caller saves the answers.

    A query only if there may be lines.
    """
    may_have = [run for run in runs if run.answer is None or _has_accepted(run.answer)]
    if not may_have:
        return
    lines = Steer.objects.filter(run__in=may_have, state=SteerState.ACCEPTED)
    lines.update(state=SteerState.FAILED)
    for run in may_have:
        if run.answer is not None:
            run.answer.steered = [
                each | {"state": SteerState.FAILED.value} if _is_accepted(each) else each
                for each in run.answer.steered or ()
            ]


def as_turns(lines: Iterable[Steer]) -> list[Turn]:
    """Return the lines that were applied before the first request, as turns."""
    first = (line for line in lines if line.request is None)
    return [
        Turn(_label(line), "user", own=False, text=line.text, message=line.pk) for line in first
    ]


def as_steering(lines: Iterable[Steer]) -> list[Steering]:
    """Return lines as the engine gets them."""
    return [Steering(line.pk, _label(line), line.text) for line in lines]


def _label(line: Steer) -> str:
    """Return a label that no other speaker has: handles are unique, names are not."""
    return f"{line.author_name} ({line.author_handle})"


def _apply(lines: Sequence[Steer], request: int | None) -> None:
    if not lines:
        return
    for line in lines:
        line.state, line.request = SteerState.APPLIED, request
    Steer.objects.bulk_update(lines, ["state", "request"])


def _record(room: Room, run: Run, answer: Message) -> None:
    answer.save(update_fields=["steered"])
    record(room, MessageUpdated(message_body(answer, run)))


def _has_accepted(answer: Message) -> bool:
    return any(map(_is_accepted, answer.steered or ()))


def _is_accepted(shown: dict[str, Any]) -> bool:
    return bool(shown["state"] == SteerState.ACCEPTED)


def _shown(line: Steer, after: int | None = None) -> dict[str, Any]:
    """Return a line as `Message.steered` has it: a `payloads.Steering`."""
    return {
        "id": str(line.pk),
        "by": None if line.user_id is None else str(line.user_id),
        "name": line.author_name,
        "at": format_timestamp(line.created_at),
        "text": line.text,
        "state": line.state,
        "after": after,
    }
