"""The REST endpoints of the questions that personas ask people."""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from accounts.api.bodies import Body
from accounts.api.pagination import Cursor, Limit, Page, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict, TooLarge
from accounts.fields import one_of
from accounts.models import User
from rooms import services
from rooms.models import Question, QuestionState
from rooms.permissions import VIEW
from rooms.protocol.payloads import QuestionBody
from rooms.protocol.serializers import question_body
from rooms.runs.steps.open_questions import MAX_ANSWER, MAX_CHOICE
from rooms.services.questions import access_question, questions_for

routes = Routes("questions")

LENGTH: Final = {"minLength": 1, "maxLength": MAX_ANSWER}


class AnswerCreate(Body, frozen=True):
    """Either one of the choices of the question, or an answer in own words."""

    choice: Annotated[str, Meta(min_length=1, max_length=MAX_CHOICE)] | UnsetType = UNSET
    text: Annotated[str, Meta(extra_json_schema=LENGTH)] | UnsetType = UNSET


class AskedQuestionBody(QuestionBody, frozen=True, kw_only=True):
    """A question with the room in which a persona asks it."""

    room: UUID


class QuestionStateBody(Struct, frozen=True):
    """The state of a question: it is open while further people are asked."""

    id: UUID
    state: Annotated[str, one_of(QuestionState.values)]


@routes.add("GET /questions", summary="List the questions that wait for the current user")
def get_questions(user: User, limit: Limit = 50, cursor: Cursor = None) -> Page[AskedQuestionBody]:
    """The questions of all teams, or of the team of the token; the newest first."""

    def bodies(questions: Sequence[Question]) -> list[AskedQuestionBody]:
        return [_asked_body(question) for question in questions]

    asked = questions_for(user).prefetch_related("answers")
    return page_of(asked, bodies, limit=limit, cursor=cursor)


@routes.add(
    "GET /questions/{uuid:question_id}",
    Gate(access_question, VIEW),
    summary="Get a question of a persona, with its answers",
)
def get_question(user: User, question: Question) -> AskedQuestionBody:
    return _asked_body(question)


@routes.add(
    "POST /questions/{uuid:question_id}/answer",
    gate_if_invalid=Gate(access_question, VIEW),
    errors=(Conflict, TooLarge),
    summary="Answer a question of a persona",
)
def answer_question(user: User, question_id: UUID, body: AnswerCreate) -> QuestionStateBody:
    """Each person whom the question asks may answer once. The run goes on after the last answer."""
    question = services.answer_question(
        user=user,
        question_id=question_id,
        choice=body.choice or None,
        text=None if body.text is UNSET else body.text,
    )
    return QuestionStateBody(question.pk, question.state)


@routes.add(
    "POST /questions/{uuid:question_id}/close",
    gate_if_invalid=Gate(access_question, VIEW),
    errors=(Conflict,),
    summary="End a question with the answers so far",
)
def close_question(user: User, question_id: UUID) -> QuestionStateBody:
    """The asker of the run and moderators may close it; its run goes on."""
    question = services.close_question(user=user, question_id=question_id)
    return QuestionStateBody(question.pk, question.state)


def _asked_body(question: Question) -> AskedQuestionBody:
    body = question_body(question, question.call.run)
    return AskedQuestionBody(**structs.asdict(body), room=question.room_id)
