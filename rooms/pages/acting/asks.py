"""What personas ask of people: decisions on calls, and questions. Both are cards below an answer.

`static/rooms/acting/asks.js` renders the same. Only people who may decide or answer get a card with
the arguments and buttons; the others get one line.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.particles import fill, pieces
from agents.untrusted_text import visible
from rooms import queries
from rooms.models import ToolCall
from rooms.pages.acting.argument_rows import Arguments, argument_rows
from rooms.permissions import MODERATE, POST
from rooms.protocol.call_words import title_of
from rooms.protocol.payloads import ApprovalBody, QuestionBody, RoomState
from rooms.runs.steps.policy import calls_to_decide

Pieces = list[tuple[str, str]]
"""The parts of a sentence: text with "", and values with their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A card or a line: `title` is a sentence, `note` stands below it.

    `is_mine` says that the reader may decide or answer, `may_close` that the reader may end the
    question. `json` is for scripts, and `shown_json` for people.
    """

    id: UUID
    kind: str
    title: Pieces
    note: str
    is_mine: bool
    may_close: bool = False
    changes: bool = False
    may_for_run: bool = False
    arguments: Arguments | None = None
    json: str = ""
    shown_json: str = ""
    sha256: str = ""
    text: str = ""
    choices: Sequence[str] = ()
    answers: Sequence[Pieces] = ()


@dataclass(frozen=True, slots=True)
class People:
    """The names that the cards need."""

    me: UUID
    members: Mapping[UUID, str]
    personas: Mapping[UUID, str]
    askers: Mapping[UUID, UUID | None]
    """By run, the user whose question it answers."""
    permissions: Collection[str] = ()
    """Those of the reader in the room."""


def asks_of(user: User, state: RoomState) -> dict[UUID, list[Ask]]:
    """Return the open cards of a state by run, as `user` sees them.

    One query if the user may decide on a call. Calls after the first `queries.MAX_BYTES` of
    arguments are lines, as for the others: scripts request the arguments of each.
    """
    people = People(
        me=user.pk,
        members={member.user: member.name for member in state.members},
        personas={persona.id: persona.name for persona in state.personas},
        askers={run.id: run.requested_by for run in state.runs},
        permissions=state.permissions,
    )
    mine = [each.id for each in state.approvals if user.pk in each.asked_of]
    # The right may have ended since the call was asked.
    decided = calls_to_decide(user).filter(pk__in=mine).order_by("created_at", "pk")
    read = decided.only("arguments", "arguments_sha256") if mine else ()
    calls = {call.pk: call for call in queries.calls_within_bytes(list(read))}
    found: dict[UUID, list[Ask]] = defaultdict(list)
    for approval in state.approvals:
        found[approval.run].append(approval_ask(approval, people, calls.get(approval.id)))
    for question in state.questions:
        found[question.run].append(question_ask(question, people))
    return found


def waits_for(asks: Collection[Ask]) -> str:
    """Return what an answer waits for, in words."""
    if any(ask.is_mine for ask in asks):
        return _("Waiting for you")
    return _("Waiting for a decision") if asks else _("Waiting for another answer")


def approval_ask(approval: ApprovalBody, people: People, call: ToolCall | None) -> Ask:
    """Return a call that waits for a decision; `call` is given if the reader may decide."""
    names = {"persona": people.personas.get(approval.persona, ""), "tool": title_of(approval)}
    title = pieces(_("%(persona)s asks to use %(tool)s"), names)
    if call is None:
        note = deciders_words(approval.asked_of, people)
        return Ask(id=approval.id, kind="approval", title=title, note=note, is_mine=False)
    asker = people.askers.get(approval.run)
    return Ask(
        id=approval.id,
        kind="approval",
        title=title,
        note=" ".join(
            part for part in (asker_words(asker, people), denied_after(approval.expires_at)) if part
        ),
        is_mine=True,
        changes=approval.changes,
        may_for_run=approval.may_for_run,
        arguments=argument_rows(call.arguments),
        json=call.arguments,
        shown_json=visible(call.arguments),
        sha256=call.arguments_sha256,
    )


def question_ask(question: QuestionBody, people: People) -> Ask:
    """Return an open question with the answers so far."""
    answered = {answer.by for answer in question.answers}
    is_mine = people.me in question.asked_of and people.me not in answered
    names = {"persona": people.personas.get(question.persona, "")}
    asked = [people.members[each] for each in question.asked_of if each in people.members]
    if people.me in question.asked_of:
        title = pieces(_("%(persona)s asks you"), names)
    else:
        title = pieces(_("%(persona)s asks %(names)s"), names | {"names": ", ".join(asked)})
    return Ask(
        id=question.id,
        kind="question",
        title=title,
        note=until(question.expires_at) if is_mine else "",
        is_mine=is_mine,
        may_close=may_close(people.askers.get(question.run), people),
        text=question.text,
        choices=question.choices,
        answers=[
            pieces(_("%(name)s: “%(text)s”"), {"name": each.name, "text": each.text})
            for each in question.answers
        ],
    )


def may_close(asker: UUID | None, people: People) -> bool:
    """Return True if the reader may end a question: the asker of its run, or a moderator."""
    return MODERATE in people.permissions or (asker == people.me and POST in people.permissions)


def asker_words(asker: UUID | None, people: People) -> str:
    """Return for whose question a call is; "" if the asker is not known."""
    if asker == people.me:
        return _("For your question.")
    name = people.members.get(asker) if asker else None
    return fill(_("For %(name)s's question."), {"name": name}) if name else ""


def deciders_words(asked_of: Sequence[UUID], people: People) -> str:
    """Return who decides, as a sentence for the others."""
    names = [people.members[each] for each in asked_of if each in people.members]
    others = len(asked_of) - 1
    if not names:
        return _("What it would send is shown only to the people who decide.")
    if others == 0:
        sentence = _("%(name)s decides. What it would send is shown to them only.")
    elif others == 1 and len(names) == 2:
        sentence = _("%(name)s or %(other)s decides. What it would send is shown to them only.")
    elif others == 1:
        sentence = _(
            "%(name)s or another person decides. What it would send is shown to them only."
        )
    else:
        sentence = _(
            "%(name)s or %(count)s others decide. What it would send is shown to them only."
        )
    return fill(sentence, {"name": names[0], "other": names[-1], "count": others})


def denied_after(moment: str | None) -> str:
    """Return when a call is denied; "" if it waits without an end."""
    if moment is None:
        return ""
    time = time_words(datetime.fromisoformat(moment))
    return fill(_("Denied if nobody decides by %(time)s."), {"time": time})


def until(moment: str) -> str:
    """Return how long a question waits."""
    time = time_words(datetime.fromisoformat(moment))
    return fill(_("The answer goes on without you after %(time)s."), {"time": time})


def time_words(moment: datetime) -> str:
    """Return a time of the near future: "14:31", "tomorrow, 14:31", "21 November, 14:31"."""
    local = timezone.localtime(moment)
    clock = date_format(local, "H:i")
    days = (local.date() - timezone.localdate()) // timedelta(days=1)
    if days <= 0:
        return clock
    if days == 1:
        return fill(_("tomorrow, %(time)s"), {"time": clock})
    return fill(_("%(day)s, %(time)s"), {"day": date_format(local, _("j F")), "time": clock})
