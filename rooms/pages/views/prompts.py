"""The pages of what models get: what a run has sent, and the summary of a room."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.permissions import require_user
from agents.views.settings_page import render_settings_page
from rooms import queries
from rooms.models import Run, RunState
from rooms.pages.sidebar import shell_context
from rooms.pages.timeline import parse_time
from rooms.pages.views.last_team import remember_team
from rooms.permissions import VIEW, access_prompt, access_room
from rooms.protocol.call_words import title_of_row
from rooms.runs.prompts.budget import estimate_tokens
from rooms.runs.prompts.recorded import SentMessage, SentRequest, SentTool, requests_of
from rooms.services import may_see

OPEN_MESSAGES: Final = 3
OPEN_CHARACTERS: Final = 600
"""Longer parts of a prompt are folded."""


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a request: messages of one kind, with the sum of their estimated tokens."""

    label: str
    messages: Sequence[SentMessage]
    tokens: int

    @property
    def is_folded(self) -> bool:
        length = sum(len(message.content) for message in self.messages)
        return len(self.messages) > OPEN_MESSAGES or length > OPEN_CHARACTERS


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of the time of a run; `start` and `width` are percents of the whole."""

    label: str
    kind: str
    seconds: float
    start: float
    width: float


@require_safe
def run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show what a run has sent to its model; `?request=N` shows a later request."""
    user = require_user(request)
    shown = access_prompt(user, run_id)
    queries.name_direct_rooms(user, [shown.room])
    requests = requests_of(shown, partial(may_see, user, shown.room, shown))
    number = request.GET.get("request", "1")
    at = int(number) - 1 if number.isascii() and number.isdigit() and len(number) < 4 else 0
    sent = requests[min(max(at, 0), len(requests) - 1)] if requests else None
    return render_settings_page(
        request,
        "rooms/run.html",
        shown.persona.team,
        section="personas",
        persona=shown.persona,
        current_persona_id=shown.persona_id,
        run=shown,
        json_url=f"{reverse('api:api-root')}runs/{shown.pk}/prompt",
        room=shown.room,
        requests=requests,
        sent=sent,
        parts=list(_parts(sent)) if sent else [],
        tools=_tools(sent.tools) if sent else [],
        tool_tokens=sum(estimate_tokens(text) for _tool, text in _tools(sent.tools)) if sent else 0,
        sent_tokens=sum(message.tokens for message in sent.messages) if sent else 0,
        bars=_bars(shown, requests),
        seconds=_seconds(shown.queued_at, shown.ended_at),
        state=_state(shown),
    )


@require_safe
def summary(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Show the summary of the messages that are too old for personas to read."""
    user = require_user(request)
    room = access_room(user, room_id, VIEW)
    remember_team(request, room.team_id)
    queries.name_direct_rooms(user, [room])
    written = room.summaries.current() if room.summarizes else None
    given, made = room.summaries.tokens()
    last = written and room.messages.of_room().filter(seq__lte=written.up_to_seq).last()
    page = {"room": room, "summary": written, "last": last, "tokens": given + made}
    return render(request, "rooms/summary.html", shell_context(user, room.team, room) | page)


def _parts(sent: SentRequest) -> Iterator[Part]:
    """Yield the rows of a request; adjacent messages with the same label are one row."""
    labelled = [(_label(sent.messages, at), message) for at, message in enumerate(sent.messages)]
    rows: list[tuple[str, list[SentMessage]]] = []
    for label, message in labelled:
        if not rows or rows[-1][0] != label:
            rows.append((label, []))
        rows[-1][1].append(message)
    for label, messages in rows:
        count = f"{label} {len(messages)}" if len(messages) > 1 else label
        yield Part(count, messages, sum(message.tokens for message in messages))


def _label(messages: Sequence[SentMessage], at: int) -> str:
    kind = messages[at].kind
    if kind == "turn" and not any(later.kind == "turn" for later in messages[at + 1 :]):
        return _("Question")
    words = {
        "persona": _("Instructions"),
        "room": _("Room"),
        "summary": _("Summary"),
        "turn": _("Conversation"),
        "answer": _("Answer so far"),
        "result": _("Result of a tool"),
        "steering": _("Steered"),
    }
    return words.get(kind, kind)


def _tools(tools: Sequence[SentTool]) -> list[tuple[SentTool, str]]:
    """Return the tools, each with its parameters as text."""
    return [
        (tool, msgspec.json.format(msgspec.json.encode(tool.parameters), indent=2).decode())
        for tool in tools
    ]


def _state(run: Run) -> str:
    words = {
        RunState.QUEUED.value: _("Queued"),
        RunState.RUNNING.value: _("Answering"),
        RunState.WAITING.value: _("Waiting for a decision"),
        RunState.COMPLETED.value: _("Finished"),
        RunState.FAILED.value: _("Failed"),
        RunState.CANCELLED.value: _("Stopped"),
    }
    return words[run.state]


def _seconds(start: datetime, end: datetime | None) -> float:
    return max(0.0, ((end or timezone.now()) - start).total_seconds())


def _bars(run: Run, requests: Sequence[SentRequest]) -> list[Bar]:
    """Return where the time of a run has gone, in its order."""
    if not requests:
        return []
    whole = _seconds(run.queued_at, run.ended_at) or 1.0
    return [
        Bar(
            label=label,
            kind=kind,
            seconds=_seconds(start, end),
            start=round(100 * min(1.0, _seconds(run.queued_at, start) / whole), 2),
            width=round(max(0.5, 100 * min(1.0, _seconds(start, end) / whole)), 2),
        )
        for label, kind, start, end in _spans(run, requests)
    ]


def _spans(
    run: Run, requests: Sequence[SentRequest]
) -> Iterator[tuple[str, str, datetime, datetime | None]]:
    """Yield the label, the kind, the start and the end of each part of a run's time."""
    sent = [parse_time(request.sent_at) for request in requests]
    yield _("In the queue"), "wait", run.queued_at, sent[0]
    answered = {request.number: request.created_at for request in run.requests.all()}
    calls = list(run.calls.order_by("request", "position"))
    for at, start in enumerate(sent):
        label = _("Request %(number)s") % {"number": at + 1}
        yield label, "text", start, answered.get(at, run.ended_at)
        for call in calls:
            if call.request == at and call.started_at and call.ms is not None:
                end = call.started_at + timedelta(milliseconds=call.ms)
                yield title_of_row(call) or call.name, "tool", call.started_at, end
