"""Questions that personas ask people by the tool `ask_people`, and the answers.

The call of a question is `running` until the question ends: when all who were asked have answered,
when it is closed or expires, with the answers so far; or it is withdrawn when the run ends. The
caller holds the locks of the room and the run, and records the events.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from agents.tool_types import MAX_RESULT, ToolResult
from agents.untrusted_text import plain
from rooms.models import (
    CallState,
    Message,
    Question,
    QuestionAnswer,
    QuestionState,
    Room,
    RoomRole,
    Run,
    ToolCall,
)
from rooms.permissions import POST, users_with
from rooms.protocol.events import DurableEvent, QuestionAnswered, QuestionAsked
from rooms.protocol.serializers import question_body
from rooms.runs.steps.calls import show

MAX_QUESTIONS: Final = 3
"""The maximum number of questions of one run."""
MAX_ASKED: Final = 50
"""The maximum number of users who are asked one question."""
MAX_TEXT: Final = 1_000
MAX_CHOICES: Final = 8
MAX_CHOICE: Final = 80
MAX_ANSWER: Final = 2_000

ENDINGS: Final[dict[str, str]] = {
    QuestionState.ANSWERED: "the question is closed",
    QuestionState.EXPIRED: "the time for answers is over",
}
"""Why a model gets no further answers."""


def ask(
    room: Room, run: Run, call: ToolCall, arguments: Mapping[str, Any]
) -> tuple[ToolResult | None, list[DurableEvent]]:
    """Store the question of a running call; return None for the result, and the event.

    A question that is refused has a result, in words for the model. Nothing happens if the question
    of the call is stored already: a worker has died after that.
    """
    if Question.objects.filter(call=call).exists():
        return None, []
    if Question.objects.filter(call__run=run).count() >= MAX_QUESTIONS:
        refusal = f"You have asked {MAX_QUESTIONS} questions in this answer. Go on without another."
        return ToolResult(refusal, failed=True), []
    text = plain(str(arguments["question"])).strip()[:MAX_TEXT]
    choices = [plain(str(each)).strip()[:MAX_CHOICE] for each in arguments.get("choices") or ()]
    choices = list(dict.fromkeys(filter(None, choices)))[:MAX_CHOICES]
    asked_of = _people(room, run, arguments.get("to", "asker"))
    if not text or not asked_of:
        refusal = "The question has no text." if asked_of else "Nobody here may answer it now."
        return ToolResult(refusal, failed=True), []
    question = Question.objects.create(
        call=call,
        room=room,
        text=text,
        choices=choices,
        asked_of=[str(user) for user in asked_of],
        expires_at=timezone.now() + timedelta(hours=settings.APPROVAL_HOURS),
    )
    return None, [QuestionAsked(question_body(question, run))]


def waits_for(question: Question) -> set[UUID]:
    """Return the users who were asked and have not answered."""
    answered = question.answers.values_list("user", flat=True)
    return {UUID(user) for user in question.asked_of} - set(answered)


def add_answer(
    room: Room, question: Question, run: Run, user: User, text: str
) -> list[DurableEvent]:
    """Store the answer of a user to an open question; end the question after the last answer.

    It is the last one if the question waits only for users who may not post any more.
    """
    QuestionAnswer.objects.create(
        question=question,
        user=user,
        author_name=user.name,
        author_handle=user.handle,
        text=text,
    )
    if not users_with(POST, room, waits_for(question)):
        return end(question, run, QuestionState.ANSWERED)
    return [QuestionAnswered(question_body(question, run))]


def end(question: Question, run: Run, state: QuestionState) -> list[DurableEvent]:
    """End an open question: the call is done, with the answers so far as its result."""
    call, now = question.call, timezone.now()
    question.state = state
    question.save(update_fields=["state"])
    answers = list(question.answers.order_by("created_at", "pk"))
    call.state, call.result = CallState.DONE, _result(question, answers)
    call.short = str(len(answers))  # worded by `rooms.protocol.call_words`
    if call.started_at is not None:
        call.ms = max(0, (now - call.started_at) // timedelta(milliseconds=1))
    call.save(update_fields=["state", "result", "short", "ms"])
    return [QuestionAnswered(question_body(question, run)), show(run, [call])]


def withdraw(run: Run) -> list[DurableEvent]:
    """Withdraw the open questions of a run that ends; no query for a run without open calls."""
    steps = (run.answer.steps if run.answer else None) or ()
    if all(step["state"] != CallState.RUNNING for step in steps):
        return []
    events: list[DurableEvent] = []
    for question in Question.objects.filter(call__run=run, state=QuestionState.OPEN):
        question.state = QuestionState.WITHDRAWN
        question.save(update_fields=["state"])
        events.append(QuestionAnswered(question_body(question, run)))
    return events


def erase(answer: Message) -> None:
    """Remove the texts of the questions that the run of a deleted answer has asked, and of answers.

    No query for an answer without steps.
    """
    if not answer.steps:
        return
    questions = Question.objects.filter(call__run__answer=answer)
    QuestionAnswer.objects.filter(question__in=questions).update(text="")
    questions.update(text="", choices=[])


def _people(room: Room, run: Run, to: str) -> list[UUID]:
    """Return the users who are asked and may post now, at most MAX_ASKED: the asker first."""
    asked = [run.requested_by_id]
    if to == "room":
        members = room.members.active().exclude(role=RoomRole.READER).exclude(user=asked[0])
        asked += members.order_by("joined_at", "pk").values_list("user", flat=True)[:MAX_ASKED]
    users = [user for user in asked if user is not None]
    may_post = users_with(POST, room, users)
    return [user for user in users if user in may_post][:MAX_ASKED]


def _result(question: Question, answers: list[QuestionAnswer]) -> str:
    """Return the answers as JSON, so that no answer can look like that of another person.

    Long answers are shortened to one length, until the model can get all of them.
    """
    length = MAX_ANSWER
    while True:
        said = [
            {
                "person": f"{answer.author_name} (@{answer.author_handle})",
                "answer": answer.text[:length] + ("…" if len(answer.text) > length else ""),
            }
            for answer in answers
        ]
        result: dict[str, Any] = {"answers": said}
        if missing := len(question.asked_of) - len(answers):
            result |= {"people_without_an_answer": missing, "because": ENDINGS[question.state]}
        text = json.dumps(result, ensure_ascii=False)
        if len(text) <= MAX_RESULT or length <= 1:
            return text
        length //= 2
