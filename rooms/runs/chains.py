"""Chains: the answers of personas that the words of other personas ask for.

A chain begins with the message of a person, its origin. An answer that mentions other personas goes
on with it, if the room allows that (`Room.persona_turns`). The runs of a chain are those of the
person who wrote the origin, so they need that person's rights, and end with them.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Q
from django.utils import translation

from accounts.errors import RateLimited
from accounts.models import User
from agents.models import Persona
from rooms.event_log import record
from rooms.markup import ParsedText
from rooms.models import Message, Room, Run, Why
from rooms.permissions import POST, users_with
from rooms.protocol.events import DurableEvent, TurnsCapped
from rooms.runs import queue
from rooms.runs.responders import Addressed, choose

Asked = list[tuple[Persona, Why]]

QUEUE_IS_FULL: Final = 0
"""The limit of a chain that no limit of answers has stopped, but a queue without a free place."""


def go_on(room: Room, run: Run, written: ParsedText) -> None:
    """Queue the runs that a completed answer asks for, in the transaction that completes it.

    If a limit or a full queue stops the chain, `turns.capped` is recorded. A room without
    `persona_turns` costs no query. `written` is the text of the answer; an empty one has no
    mentions. Answers of a round and of runs that another run has asked for begin no chain.
    """
    if run.round_id is not None or run.parent_call_id is not None:
        return
    asker = run.requested_by if room.persona_turns and run.requested_by_id else None
    if asker is None or run.answer is None or not users_with(POST, room, [asker.pk]):
        return
    asked = personas_asked(room, run.answer, written, asker)
    if not asked:
        return
    origin = run.origin_id or run.message_id
    left, limit = _left(room, origin)
    events: list[DurableEvent] = []
    try:
        with translation.override(run.language):
            _runs, queued = queue.queue_runs(room, run.answer, asked[:left], asker, origin=origin)
        events += queued
    except RateLimited:
        left, limit = 0, QUEUE_IS_FULL
    if left < len(asked):
        run.answer.capped_at = limit
        run.answer.save(update_fields=["capped_at"])
        reason = "queue" if limit == QUEUE_IS_FULL else "answers"
        events.append(TurnsCapped(message=run.answer.pk, limit=limit, reason=reason))
    record(room, *events)


def personas_asked(room: Room, answer: Message, written: ParsedText, user: User) -> Asked:
    """Return the personas that an answer mentions and that `user` may ask.

    Its own persona, switched-off personas, and those that were asked by this answer before are left
    out.
    """
    mentioned = written.in_room(cache(room.handles)).mentioned
    if not mentioned:
        return []
    done = set(answer.runs.values_list("persona_id", flat=True)) | {answer.persona_id}
    return [
        (persona, why)
        for persona, why in choose(room, user, Addressed(mentioned=mentioned))
        if why == Why.MENTION and persona.enabled and persona.pk not in done
    ]


def _left(room: Room, origin: UUID) -> tuple[int, int]:
    """Return how many runs the chain of a message may still have, and the limit that says so."""
    first, further = Q(message=origin, origin=None), Q(origin=origin)
    # A new version of an answer is not a further answer. Runs that were asked for by a call have
    # limits of their own (`crews.led`), and this one.
    counts = room.runs.filter(first | further, replaces=None).aggregate(
        all=Count("pk"), further=Count("pk", filter=further & Q(parent_call=None))
    )
    limits: Sequence[tuple[int, int]] = (
        (room.persona_turns - counts["further"], room.persona_turns),
        (settings.ANSWERS_PER_MESSAGE - counts["all"], settings.ANSWERS_PER_MESSAGE),
    )
    left, limit = min(limits)
    return max(0, left), limit
