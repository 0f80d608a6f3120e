"""What waits for a decision or an answer of the user: in a room, in the sidebar, at home."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import Team, User
from accounts.particles import fill, pieces
from agents.models import Persona
from rooms.models import Question, ToolCall
from rooms.pages.acting.argument_rows import argument_rows
from rooms.pages.acting.asks import Pieces
from rooms.protocol.call_words import title_of, title_of_row
from rooms.protocol.payloads import PersonaBody, RoomState
from rooms.runs.steps.policy import calls_to_decide
from rooms.services.questions import questions_for

SHOWN: Final = 8
"""The items on the home page."""
SHORT_ARGUMENTS: Final = 280
"""Arguments of more characters are not decided on the home page."""


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A call or a question that waits for the reader, in the panel of its room."""

    id: UUID
    message: UUID
    persona: PersonaBody
    title: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingItem:
    """A call or a question that waits for the user, on the home page.

    `changes` says that the call changes something outside. `sha256` is set if the user may allow it
    there: `arguments` has all its arguments then, each with its name, so that no value can look
    like another argument.
    """

    id: UUID
    room_id: UUID
    message: UUID
    persona: Persona
    words: Pieces
    at: datetime
    changes: bool = False
    arguments: Sequence[tuple[str, str]] = ()
    sha256: str = ""


def waiting_rows(user: User, state: RoomState) -> list[WaitingRow]:
    """Return what waits for the user in a room, as static/rooms/acting/waiting_list.js shows it."""
    personas = {persona.id: persona for persona in state.personas}
    members = {member.user: member.name for member in state.members}
    askers = {run.id: members.get(run.requested_by or user.pk, "") for run in state.runs}
    found = [
        (each.id, each.message, each.persona, each.run, title_of(each))
        for each in state.approvals
        if user.pk in each.asked_of
    ]
    found += [
        (each.id, each.message, each.persona, each.run, each.text)
        for each in state.questions
        if user.pk in each.asked_of and all(answer.by != user.pk for answer in each.answers)
    ]
    return [
        WaitingRow(pk, message, personas[persona], title, _for(personas[persona], askers.get(run)))
        for pk, message, persona, run, title in found
        if persona in personas
    ]


def _for(persona: PersonaBody, asker: str | None) -> str:
    if not asker:
        return persona.name
    return fill(_("%(persona)s, for %(name)s"), {"persona": persona.name, "name": asker})


def rooms_that_ask(user: User, team: Team) -> list[QuerySet[Any, Any]]:
    """Return two queries for the rooms of a team in which the user is waited for, to be united.

    The first is for the rooms with decisions, the second for those with questions.
    """
    calls = calls_to_decide(user).filter(run__team=team).order_by()
    questions = questions_for(user).filter(room__team=team).order_by()
    return [calls.values_list("run__room"), questions.values_list("room")]


def waiting_items(user: User, team: Team) -> list[WaitingItem]:
    """Return what waits for the user in a team, the newest first."""
    calls = calls_to_decide(user).filter(run__team=team).select_related("run__persona")
    questions = questions_for(user).filter(room__team=team).select_related("call__run__persona")
    found = [
        *(_call_item(call) for call in calls.order_by("-created_at")[:SHOWN]),
        *(_question_item(question) for question in questions.order_by("-created_at")[:SHOWN]),
    ]
    return sorted(found, key=lambda item: item.at, reverse=True)[:SHOWN]


def _call_item(call: ToolCall) -> WaitingItem:
    shown = argument_rows(call.arguments)
    length = sum(len(name) + len(value) for name, value in shown.rows)
    is_short = not shown.is_cut and length <= SHORT_ARGUMENTS
    return WaitingItem(
        id=call.pk,
        room_id=call.run.room_id,
        message=call.run.answer_id or call.run.message_id,
        persona=call.run.persona,
        words=pieces(_("asks to use %(tool)s"), {"tool": title_of_row(call)}),
        at=call.created_at,
        changes=call.changes,
        arguments=shown.rows if is_short else (),
        sha256=call.arguments_sha256 if is_short else "",
    )


def _question_item(question: Question) -> WaitingItem:
    run = question.call.run
    return WaitingItem(
        id=question.pk,
        room_id=question.room_id,
        message=run.answer_id or run.message_id,
        persona=run.persona,
        words=pieces(_("asks: %(text)s"), {"text": question.text}),
        at=question.created_at,
    )
