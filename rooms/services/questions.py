"""Answers and closes the questions that personas ask people."""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.db.models.lookups import Contains
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.errors import Conflict, Forbidden, Invalid, NotFound
from accounts.models import User
from rooms.event_log import record
from rooms.models import Question, QuestionState, Room, RoomPermission, Run
from rooms.permissions import MODERATE, POST, VIEW, access_call, lock_room, users_with
from rooms.runs.steps import open_questions
from rooms.runs.steps.resuming import resume
from rooms.runs.steps.waiting import lock_call
from rooms.services.steering import clean_text

CHECKED_AT_ONCE: Final = 1_000
"""The maximum number of users in one query for permissions."""


def access_question(user: User, question_id: UUID, permission: str) -> Question:
    """Return the question, with its call and run, if `user` has the permission in its room.

    Raises NotFound or Forbidden.
    """
    call = access_call(user, question_id, permission)
    question = Question.objects.filter(pk=call.pk).first()
    if question is None:
        raise NotFound
    question.call = call
    return question


@transaction.atomic
def answer_question(
    *, user: User, question_id: UUID, choice: str | None = None, text: str | None = None
) -> Question:
    """Answer a question, by one of its choices or in own words, as one of the users it asks.

    The run goes on after the last answer. Raises Forbidden for other members, and Conflict if the
    user has answered or the question has ended.
    """
    room, run, question = _lock(user, question_id, POST)
    if str(user.pk) not in question.asked_of:
        raise Forbidden(_("This question asks other people."), team_id=room.team_id)
    if user.pk not in open_questions.waits_for(question):
        raise Conflict(_("You have answered this question already."))
    _check_open(question)
    words = _words(question, choice, text)
    rate_limits.consume(rate_limits.SEND, user, room_id=room.pk, team_id=room.team_id)
    author = User.objects.get(pk=user.pk)  # a connection has its user from the handshake
    record(room, *open_questions.add_answer(room, question, run, author, words), *resume(run))
    return question


@transaction.atomic
def close_question(*, user: User, question_id: UUID) -> Question:
    """End a question with the answers so far, as the asker of its run or a moderator.

    Raises Conflict if the question has ended.
    """
    asker = access_question(user, question_id, VIEW).call.run.requested_by_id
    room, run, question = _lock(user, question_id, POST if asker == user.pk else MODERATE)
    _check_open(question)
    record(room, *open_questions.end(question, run, QuestionState.ANSWERED), *resume(run))
    return question


def recheck_questions(room: Room) -> None:
    """End the open questions of a locked room that wait only for users who may not post there.

    The number of queries does not depend on the number of questions that stay open.
    """
    waiting = _waiting(room)
    asked = list(set().union(*waiting.values()))
    may_answer: set[UUID] = set()
    for start in range(0, len(asked), CHECKED_AT_ONCE):
        may_answer |= users_with(POST, room, asked[start : start + CHECKED_AT_ONCE])
    for question_id in (pk for pk, users in waiting.items() if users.isdisjoint(may_answer)):
        run, call = lock_call(room, question_id)
        question = call.question
        record(room, *open_questions.end(question, run, QuestionState.ANSWERED), *resume(run))


def _waiting(room: Room) -> dict[UUID, set[UUID]]:
    """Return by open question of a room the users who were asked and have not answered."""
    rows = _open().filter(room=room).order_by("created_at", "pk")
    found: dict[UUID, set[UUID]] = {}
    for pk, asked_of, answered in rows.values_list("pk", "asked_of", "answers__user"):
        found.setdefault(pk, set(map(UUID, asked_of))).discard(answered)
    return found


def rooms_with_questions(teams: Collection[UUID]) -> QuerySet[Question, Any]:
    """Return the ids of the rooms of these teams that have open questions, for a lookup."""
    return _open().filter(room__team__in=teams).values("room")


def questions_for(user: User) -> QuerySet[Question]:
    """Return the open questions that wait for an answer of `user`.

    The scope of the user's credential limits them to its team.
    """
    granted = RoomPermission.objects.filter(user_id=user.pk, permission__codename=POST)
    rooms = Room.objects.visible_to(user).filter(
        archived_at=None, pk__in=granted.values("content_object")
    )
    mine = _open().filter(_asks(user), room__in=rooms).exclude(answers__user=user)
    return mine.select_related("call__run")


def _asks(user: User) -> Q:
    """Return the condition of questions that name `user`; see the index `question_asked_of`."""
    if connection.features.supports_json_field_contains:
        return Q(asked_of__contains=[str(user.pk)])
    return Q(Contains(Cast("asked_of", TextField()), Value(str(user.pk))))


def _open() -> QuerySet[Question]:
    return Question.objects.filter(state=QuestionState.OPEN)


def _lock(user: User, question_id: UUID, permission: str) -> tuple[Room, Run, Question]:
    """Lock a question, its run and its room, in which the user has the permission."""
    room = lock_room(user, access_question(user, question_id, VIEW).room_id, permission)
    run, call = lock_call(room, question_id)
    return room, run, Question.objects.select_related("call").get(pk=call.pk)


def _check_open(question: Question) -> None:
    if question.state != QuestionState.OPEN:
        raise Conflict(_("This question has ended. Nothing waits for an answer any more."))


def _words(question: Question, choice: str | None, text: str | None) -> str:
    """Return the answer; raises Invalid unless it is one of the choices or a text."""
    if (choice is None) == (text is None):
        sentence = _("Send either a choice or a text.")
        raise Invalid(sentence, fields={"choice": sentence})
    if text is not None:
        return clean_text(text, open_questions.MAX_ANSWER)
    if choice in question.choices:
        return str(choice)
    sentence = _("This is not one of the choices.")
    raise Invalid(sentence, fields={"choice": sentence})
