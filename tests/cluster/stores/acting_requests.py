"""What people and workers ask of the database because of personas that act."""

from dataclasses import dataclass
from functools import partial
from os import urandom
from typing import Any, Final
from uuid import UUID

from accounts.models import Team, TeamRole, User
from accounts.services import create_user
from accounts.services.teams import add_team_member
from agents.models import Persona, PersonaTool
from agents.tool_types import ToolResult
from agents.tools.catalog import CATALOG
from agents.tools.registry import specs_for
from rooms import services
from rooms.api.approvals import get_approvals
from rooms.api.questions import get_questions
from rooms.models import (
    Message,
    QuestionAnswer,
    Quote,
    Room,
    RoomRole,
    RoomSummary,
    Round,
    Run,
    RunPrompt,
    Steer,
    SummaryState,
)
from rooms.pages.acting import to_decide
from rooms.pages.sidebar import shell_context
from rooms.permissions import VIEW, access_call, access_prompt
from rooms.runs import queue
from rooms.runs.lifecycle import Job
from rooms.runs.prompts import recorded, recorder, summaries
from rooms.runs.steps import journal, room_tools, waiting
from rooms.runs.steps.open_approvals import recheck_approvals
from rooms.services.questions import recheck_questions
from rooms.services.runs import fail_unauthorized_runs_of
from rooms.socket import snapshots
from tests.rooms.acting import SEND, install, propose, request, start_again
from tests.rooms.asking import make_question

SEARCH: Final = next(tool.id for tool in CATALOG if tool.key == "search_room")


@dataclass(frozen=True)
class Waiting:
    """A run that waits for a decision on a call, and for the answer to a question of it."""

    run: UUID
    call: UUID
    question: UUID


def wait_for_people(user: User, room: Room, of: User) -> Waiting:
    """Let `user` ask, and a worker leave the run: it waits for a decision, and an answer `of`."""
    posted = services.post_message(user=user, room_id=room.pk, text="Send it.")
    job = start_again(posted.runs[0])
    call = request(SEND)
    propose(job, call, number=1)
    question = make_question(job.run, of.pk)
    waiting.wait(job, "Let me see.", None)
    return Waiting(job.run, call.id, question.pk)


def prepare(user: User, room: Room, persona: Persona) -> Waiting:
    """Store one row of each kind, which `tests.cluster.harness.acting_history` copies."""
    install(SEND)
    PersonaTool.objects.create(persona=persona, tool=SEND.id, policy="ask")
    PersonaTool.objects.create(persona=persona, tool=SEARCH, policy="always")
    waits = wait_for_people(user, room, of=user)
    run = Run.objects.get(pk=waits.run)
    author: Any = {"user": user, "author_name": user.name, "author_handle": user.handle}
    Steer.objects.create(run=run, text="Shorter, please.", request=0, **author)
    Quote.objects.create(call_id=waits.call, message_id=run.message_id)
    QuestionAnswer.objects.create(question_id=waits.question, text="Yes.", **author)
    Round.objects.create(room=room, message_id=run.message_id, requested_by=user)
    RunPrompt.objects.create(run=run, attempt=1, content=urandom(1_000))
    RoomSummary.objects.create(
        room=room, up_to_seq=1, persona=persona, state=SummaryState.WRITTEN, text="words " * 200
    )
    return waits


def quiet_room(owner: User, team: Team, persona: Persona) -> tuple[User, Room]:
    """Return a user who is only in one room, and the room."""
    person = create_user(name="Quiet", email="quiet@example.com", verified=True)
    add_team_member(team, person, TeamRole.MEMBER)
    room = services.create_room(user=owner, team_id=team.pk, name="quiet", personas=[persona.pk])
    services.add_members(room, [person], RoomRole.MODERATOR)
    return person, room


class ActingRequests:
    """Each request is a method without arguments.

    `person` is in one room, and `user` in many, of which one is large.
    """

    def __init__(self, user: User, room: Room, job: Job, waits: Waiting, person: User) -> None:
        self._user, self._room, self._job, self._waits = user, room, job, waits
        self._person, self._team = person, Team.objects.get(pk=room.team_id)
        of_person = Run.objects.get(state="waiting", room__members__user=person)
        self._asked = of_person.calls.get(state="asked")
        self._question = of_person.calls.get(state="running").pk
        copies = Message.objects.filter(room=room, user=user, seq__gt=20)
        self._old = copies.order_by("seq")[0]

    def wait(self) -> None:
        waiting.wait(self._job, "Let me see.", None)

    def propose_a_call(self) -> None:
        propose(self._job, request(SEND), number=7)

    def begin_and_finish_a_call(self) -> None:
        call = self._propose_search()
        assert journal.begin(self._job, call) is None
        journal.finish(self._job, call, ToolResult("found", short="1"), 7)

    def _propose_search(self) -> UUID:
        persona = Run.objects.select_related("persona").get(pk=self._job.run).persona
        (search,) = (spec for spec in specs_for(persona) if spec.id == SEARCH)
        call = request(search)
        assert propose(self._job, call, number=8) == ["allowed"]
        return call.id

    def decide(self) -> None:
        services.decide_call(
            user=self._person,
            call_id=self._asked.pk,
            decision="allow",
            arguments_sha256=self._asked.arguments_sha256,
        )

    def answer_a_question(self) -> None:
        services.answer_question(user=self._person, question_id=self._question, text="Yes.")

    def steer(self) -> None:
        services.steer_run(user=self._user, run_id=self._waits.run, text="Shorter.")

    def ask_the_people_who_may_decide_now(self) -> None:
        recheck_approvals(self._room)

    def stop_a_waiting_run(self) -> None:
        services.cancel_run(user=self._user, run_id=self._waits.run)

    def start_again(self) -> None:
        services.cancel_run(user=self._user, run_id=self._job.run)
        services.retry_run(user=self._user, run_id=self._job.run)

    def expire(self) -> None:
        waiting.expire()

    def count_waiting(self) -> None:
        queue.count_waiting()

    def state_of_the_room(self) -> None:
        snapshots.read_state(self._room.pk)

    def asks_of_a_person(self) -> None:
        self._asks_of(self._person)

    def asks_of_a_user_of_many_rooms(self) -> None:
        self._asks_of(self._user)

    def _asks_of(self, user: User) -> None:
        shell_context(user, self._team)
        to_decide.waiting_items(user, self._team)

    def list_of_approvals(self) -> None:
        get_approvals(self._person)

    def list_of_questions(self) -> None:
        get_questions(self._person)

    def list_of_approvals_of_a_user_of_many_rooms(self) -> None:
        get_approvals(self._user)

    def list_of_questions_of_a_user_of_many_rooms(self) -> None:
        get_questions(self._user)

    def recheck_questions(self) -> None:
        recheck_questions(Room.objects.get(runs__calls=self._asked))

    def revoke(self) -> None:
        fail_unauthorized_runs_of(askers=[self._person], teams=[self._team.pk])

    def calls_of_a_run(self) -> None:
        call = access_call(self._user, self._waits.call, VIEW)
        calls = list(call.run.calls.order_by("request", "position"))
        services.may_see(self._user, call.run.room, call.run, calls)

    def record_a_prompt(self) -> None:
        recorder.record([self._job])

    def prompt_of_a_run(self) -> None:
        run = access_prompt(self._user, self._job.run)
        recorder.record([self._job])
        recorded.requests_of(run, partial(services.may_see, self._user, run.room, run))

    def summarize(self) -> None:
        row = RoomSummary(room=self._room, up_to_seq=self._room.last_seq)
        row.persona_id = Run.objects.values_list("persona_id", flat=True).get(pk=self._job.run)
        row.save(force_insert=True)
        summaries.claim("writer")

    def edit_an_old_message(self) -> None:
        services.edit_message(user=self._user, message_id=self._old.pk, text="other words")

    def search_of_a_persona(self) -> None:
        room_tools.search_room(self._room, {"words": "absent"})

    def message_that_a_persona_reads(self) -> None:
        room_tools.read_message(self._room, {"message": str(self._old.pk)})

    def tools_of_a_persona(self) -> None:
        specs_for(Run.objects.select_related("persona").get(pk=self._job.run).persona)

    def purge_of_prompts(self) -> None:
        recorded.purge_prompts()

    def purge_of_summaries(self) -> None:
        summaries.purge_summaries()
