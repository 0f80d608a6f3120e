"""An old snapshot and the events since then give the new snapshot, for every event type."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone

from accounts.errors import NotFound
from accounts.roles import ROOM_ROLES
from accounts.services import create_user, update_profile
from accounts.services.teams import add_team_member
from agents.engine_types import AnswerFailed, Usage
from agents.services import create_demo_persona, delete_persona, update_persona
from rooms import services
from rooms.event_log import events_after, record
from rooms.models import Message, Question, Room, Round, Run, ToolCall
from rooms.permissions import VIEW, access_room, permissions_in
from rooms.protocol.events import DurableEvent
from rooms.queries import room_state
from rooms.runs import leases, lifecycle
from rooms.runs.steps import open_questions, waiting
from rooms.runs.steps.calls import show
from tests.rooms import acting
from tests.rooms.asking import make_call
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db

State = dict[str, Any]
Act = Callable[[Cast], object]

# The list of the state that an event changes, and the key of its rows.
ADDS = {
    "message": ("messages", "id"),
    "run": ("runs", "id"),
    "member": ("members", "user"),
    "persona": ("personas", "id"),
    "approval": ("approvals", "id"),
}
# The events that remove a row: its list, its key, and its id in the event.
REMOVES: dict[str, tuple[str, str, Callable[[State], object]]] = {
    "run.completed": ("runs", "id", lambda event: event["run"]["id"]),
    "run.failed": ("runs", "id", lambda event: event["run"]["id"]),
    "run.cancelled": ("runs", "id", lambda event: event["run"]["id"]),
    "approval.decided": ("approvals", "id", lambda event: event["approval"]["id"]),
    "member.removed": ("members", "user", lambda event: event["user"]),
    "persona.unbound": ("personas", "id", lambda event: event["persona"]),
}


def state_of(cast: Cast) -> State:
    """Return the state of the room as in a new snapshot."""
    room = access_room(cast.member, cast.room.pk, VIEW)
    state: State = msgspec.to_builtins(room_state(room, permissions_in(cast.member, room)))
    return state


def apply_event(state: State, event: State, me: str) -> None:  # noqa: C901, PLR0912 # one case for each area
    """Apply an event to a state as a client does."""
    area, _, _verb = event["type"].partition(".")
    if area == "room":
        state["room"] = event["changed"]
    elif area == "turns":
        (message,) = [row for row in state["messages"] if row["id"] == event["message"]]
        message["capped"] = event["limit"]
    elif area == "round":
        for row in state["messages"]:
            if row["id"] == event["round"]["message"]:
                row["round"] = event["round"]
    elif area == "reaction":
        (message,) = [row for row in state["messages"] if row["id"] == event["message"]]
        message["reactions"] = event["reactions"]
    elif area == "thread":
        (root,) = [row for row in state["messages"] if row["id"] == event["message"]]
        root["replies"] = event["replies"]
    elif area == "message" and event["message"]["thread"] and not event["message"]["also_in_room"]:
        return  # the state has the messages of the room
    elif area == "question":
        question = event["question"]
        state["questions"] = [q for q in state["questions"] if q["id"] != question["id"]]
        if question["state"] == "open":
            state["questions"].append(question)
    elif event["type"] in REMOVES:
        rows, key, id_of = REMOVES[event["type"]]
        state[rows] = [row for row in state[rows] if row[key] != id_of(event)]
    else:
        rows, key = ADDS[area]
        _put(state[rows], event[area], key)
    if event["type"] == "message.created" and (replaced := event["message"]["replaces"]):
        for run in state["runs"]:  # the thread of the old version is that of the new one
            run["thread"] = event["message"]["id"] if run["thread"] == replaced else run["thread"]
    if area == "message":
        if event["message"]["replaced_by"]:
            _remove(state["messages"], event["message"]["id"])
        _put_pin(state["pins"], event["message"])
    state["room"]["member_count"] = len(state["members"])
    (mine,) = [member for member in state["members"] if member["user"] == me]
    rights = ROOM_ROLES[mine["role"]]
    rights = rights - {"post", "moderate"} if state["room"]["archived"] else rights
    state["permissions"] = sorted(rights)


def _put(rows: list[State], row: State, key: str) -> None:
    for index, old in enumerate(rows):
        if old[key] in (row[key], row.get("replaces")):
            rows[index] = row
            return
    rows.append(row)


def _remove(rows: list[State], message: str) -> None:
    rows[:] = [row for row in rows if row["id"] != message]


def _put_pin(pins: list[State], message: State) -> None:
    """Update the list of pins, the last pinned first."""
    ids = {message["id"], message["replaces"] if message["pinned"] else None}
    at = next((n for n, pin in enumerate(pins) if pin["message"] in ids), None)
    if at is not None:
        del pins[at]
    if message["pinned"]:
        pin = {"message": message["id"], "text": message["text"][:200]}
        pins.insert(at or 0, pin | {name: message[name] for name in ("author", "pinned")})


def ask(cast: Cast) -> lifecycle.Job:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    return start(cast)


def complete(cast: Cast) -> None:
    lifecycle.complete(ask(cast), "**answer**", Usage(3, 4))


def regenerate(cast: Cast) -> lifecycle.Job:
    """Complete an answer with a later message behind it, and start a new version of it."""
    job = ask(cast)
    lifecycle.complete(job, "**first**", None)
    say(cast)
    services.retry_run(user=cast.member, run_id=job.run)
    _run, version = claim_and_start("worker")  # type: ignore[misc]  # it was queued
    assert version is not None
    return version


def regenerate_root(cast: Cast) -> None:
    """Replace an answer with a reply while a persona answers in its thread."""
    job = ask(cast)
    lifecycle.complete(job, "**first**", None)
    services.post_message(
        user=cast.member, room_id=cast.room.pk, text="reply", reply_to=job.message
    )
    start(cast)
    services.retry_run(user=cast.member, run_id=job.run)
    start(cast)


def complete_version(cast: Cast) -> None:
    lifecycle.complete(regenerate(cast), "**second**", None)


def complete_pinned_version(cast: Cast) -> None:
    job = ask(cast)
    lifecycle.complete(job, "**first**", None)
    for message in (job.message, say(cast).pk):
        services.pin_message(user=cast.member, message_id=message, on=True)
    services.retry_run(user=cast.member, run_id=job.run)
    lifecycle.complete(start(cast), "**second**", None)


def delete_version(cast: Cast) -> None:
    job = regenerate(cast)
    lifecycle.complete(job, "**second**", None)
    services.delete_message(user=cast.owner, message_id=job.message)


def delete_replaced_version(cast: Cast) -> None:
    replaced = Message.objects.get(replaced_by=regenerate(cast).message)
    services.delete_message(user=cast.owner, message_id=replaced.pk)


def fail(cast: Cast) -> None:
    lifecycle.fail(ask(cast), AnswerFailed("truncated"), "half")


def cancel(cast: Cast) -> None:
    services.cancel_run(user=cast.member, run_id=ask(cast).run)


def add(cast: Cast) -> None:
    user = create_user(name="New", email="new@example.com")
    add_team_member(cast.team, user, "member")
    services.put_member(user=cast.owner, room_id=cast.room.pk, member_id=user.pk, role="reader")


def demote(cast: Cast) -> None:
    services.put_member(
        user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk, role="reader"
    )


def remove(cast: Cast) -> None:
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.reader.pk)


def rename(cast: Cast) -> None:
    services.update_room(
        user=cast.owner,
        room_id=cast.room.pk,
        name="other",
        privacy="team",
        default_persona=cast.persona.pk,
    )


def archive(cast: Cast) -> None:
    ask(cast)
    services.archive_room(user=cast.owner, room_id=cast.room.pk)


def archive_and_restore(cast: Cast) -> None:
    archive(cast)
    services.restore_room(user=cast.owner, room_id=cast.room.pk)


def bind(cast: Cast) -> None:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)


def delete_default_persona(cast: Cast) -> None:
    rename(cast)
    delete_persona(user=cast.owner, persona_id=cast.persona.pk)


def delete_persona_with_answers(cast: Cast) -> None:
    complete(cast)
    fail(cast)
    delete_persona(user=cast.owner, persona_id=cast.persona.pk)


def confine(cast: Cast) -> None:
    rename(cast)
    services.confine_persona(user=cast.owner, persona_id=cast.persona.pk, room_ids=[])


def edit_persona(cast: Cast) -> None:
    update_persona(user=cast.owner, persona_id=cast.persona.pk, goal="Another goal.")


def edit_profile(cast: Cast) -> None:
    update_profile(user=cast.member, name="Renamed", wood="zelkova")


def say(cast: Cast) -> Message:
    return services.post_message(
        user=cast.member, room_id=cast.room.pk, text="said", personas=[]
    ).message


def reply(cast: Cast) -> Message:
    root = say(cast)
    return services.post_message(
        user=cast.member, room_id=cast.room.pk, text="reply", reply_to=root.pk
    ).message


def delete_reply(cast: Cast) -> None:
    services.delete_message(user=cast.member, message_id=reply(cast).pk)


def answer_in_thread(cast: Cast) -> None:
    reply(cast)
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    lifecycle.complete(taken[1], "answer", None)


def edit(cast: Cast) -> None:
    services.edit_message(user=cast.member, message_id=say(cast).pk, text="**mended**")


def delete(cast: Cast) -> None:
    services.delete_message(user=cast.member, message_id=say(cast).pk)


def delete_question(cast: Cast) -> None:
    question = Run.objects.get(pk=ask(cast).run).message_id
    services.delete_message(user=cast.member, message_id=question)


def react(cast: Cast) -> None:
    services.react(user=cast.member, message_id=say(cast).pk, emoji="👍", on=True)


def react_and_take_back(cast: Cast) -> None:
    message = say(cast).pk
    for on in (True, False):
        services.react(user=cast.member, message_id=message, emoji="👍", on=on)


def mute(cast: Cast) -> None:
    services.mute_persona(
        user=cast.owner, room_id=cast.room.pk, persona_id=cast.persona.pk, muted=True
    )


def mute_and_unbind(cast: Cast) -> None:
    mute(cast)
    services.unbind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=cast.persona.pk)


def cap(cast: Cast) -> Message:
    """Let an answer mention another persona in a room whose chains have no answer left."""
    bind(cast)
    services.update_room(user=cast.owner, room_id=cast.room.pk, persona_turns=1)
    other = cast.room.personas.exclude(pk=cast.persona.pk).get()
    for persona in (other, cast.persona):
        job = ask(cast) if persona == other else start(cast)
        lifecycle.complete(job, f"@{persona.handle}, your turn", None)
    return Message.objects.get(pk=job.message)


def start(cast: Cast) -> lifecycle.Job:
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    return taken[1]


def cap_and_continue(cast: Cast) -> None:
    services.continue_answers(user=cast.moderator, message_id=cap(cast).pk)


def vote(cast: Cast) -> None:
    job = ask(cast)
    lifecycle.complete(job, "**answer**", None)
    for user, value in ((cast.member, 1), (cast.owner, -1), (cast.moderator, -1), (cast.owner, 0)):
        services.vote(user=user, message_id=job.message, value=value)


def pin(cast: Cast) -> UUID:
    message = say(cast).pk
    for each in (say(cast).pk, message):
        services.pin_message(user=cast.member, message_id=each, on=True)
    return message


def pin_and_edit(cast: Cast) -> None:
    services.edit_message(user=cast.member, message_id=pin(cast), text="mended " * 50)


def pin_and_delete(cast: Cast) -> None:
    services.delete_message(user=cast.member, message_id=pin(cast))


def pin_and_take_back(cast: Cast) -> None:
    services.pin_message(user=cast.owner, message_id=pin(cast), on=False)


def pin_streaming(cast: Cast) -> None:
    job = ask(cast)
    services.pin_message(user=cast.member, message_id=job.message, on=True)
    lifecycle.complete(job, "**answer**", None)


def ask_people(cast: Cast, text: str = "Which day?") -> Question:
    """Let a run wait for the owner and the member of the room."""
    job = ask(cast)
    call = make_call(job.run)
    with transaction.atomic():
        room, run = leases.lock_owned(job.run, job.owner, job.attempt)
        record(room, show(run, [call]))
        record(room, *open_questions.ask(room, run, call, {"question": text, "to": "room"})[1])
    waiting.wait(job, "Let me ask.", None)
    return Question.objects.get()


def answer_question(cast: Cast) -> Question:
    question = ask_people(cast)
    services.answer_question(user=cast.owner, question_id=question.pk, text="**Friday**")
    return question


def close_question(cast: Cast) -> None:
    services.close_question(user=cast.member, question_id=answer_question(cast).pk)


def withdraw_question(cast: Cast) -> None:
    services.cancel_run(user=cast.member, run_id=answer_question(cast).call.run_id)


def steer(cast: Cast) -> lifecycle.Job:
    job = ask(cast)
    services.steer_run(user=cast.owner, run_id=job.run, text="**shorter**")
    return job


def steer_and_stop(cast: Cast) -> None:
    services.cancel_run(user=cast.member, run_id=steer(cast).run)


def steer_at_the_end(cast: Cast) -> None:
    job = steer(cast)
    assert not lifecycle.complete(job, "answer", None)
    waiting.go_on(job, "answer", None)
    lifecycle.complete(start(cast), "answer, shorter", None)


def steer_queued(cast: Cast) -> None:
    (run,) = services.post_message(user=cast.member, room_id=cast.room.pk, text="question").runs
    services.steer_run(user=cast.owner, run_id=run, text="shorter")
    start(cast)


def begin_round(cast: Cast) -> lifecycle.Job:
    """Ask two personas in turn, and start the first answer."""
    bind(cast)
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question", in_turn=True)
    return start(cast)


def finish_round(cast: Cast) -> None:
    lifecycle.complete(begin_round(cast), "first", None)
    lifecycle.complete(start(cast), "second", None)


def pause_round(cast: Cast) -> Round:
    lifecycle.fail(begin_round(cast), AnswerFailed("timeout"), "")
    return Round.objects.get()


def retry_step(cast: Cast) -> None:
    pause_round(cast)
    services.retry_run(user=cast.member, run_id=Run.objects.get(state="failed").pk)


def skip_step(cast: Cast) -> None:
    services.skip_step(user=cast.member, round_id=pause_round(cast).pk)


def cancel_round(cast: Cast) -> None:
    begin_round(cast)
    services.cancel_round(user=cast.member, round_id=Round.objects.get().pk)


def delete_round(cast: Cast) -> None:
    services.delete_message(user=cast.member, message_id=pause_round(cast).message_id)


def propose_calls(cast: Cast) -> lifecycle.Job:
    """Let a run propose calls of which one asks and one runs."""
    acting.set_policy(cast, acting.SEND, "ask")
    acting.set_policy(cast, acting.LOOK, "always")
    job = ask(cast)
    look = acting.request(acting.LOOK)
    acting.propose(job, acting.request(), look, acting.request(None))
    acting.execute(job, look.id)
    return job


def wait_for_people(cast: Cast) -> UUID:
    job = propose_calls(cast)
    waiting.wait(job, "Let me *see*.", Usage(3, 4))
    return ToolCall.objects.get(state="asked").pk


def allow(cast: Cast) -> UUID:
    call = wait_for_people(cast)
    services.decide_call(
        user=cast.member,
        call_id=call,
        decision="allow",
        arguments_sha256=acting.ARGUMENTS_SHA256,
    )
    return call


def go_on(cast: Cast) -> None:
    call = allow(cast)
    job = start(cast)
    acting.execute(job, call)
    acting.complete(job)
    # Last, because the end of the answer tells the whole message.
    services.show_result(user=cast.member, run_id=job.run, call_id=call)


def expire_call(cast: Cast) -> None:
    wait_for_people(cast)
    ToolCall.objects.filter(state="asked").update(expires_at=timezone.now() - timedelta(1))
    waiting.expire()


def withdraw(cast: Cast) -> None:
    wait_for_people(cast)
    services.cancel_run(user=cast.member, run_id=Run.objects.get().pk)


def delete_answer_with_calls(cast: Cast) -> None:
    wait_for_people(cast)
    answer = Run.objects.get().answer
    assert answer is not None
    services.delete_message(user=cast.owner, message_id=answer.pk)


# The services that record an event of each type, some in several ways.
CASES: dict[str, tuple[Act, ...]] = {
    "message.created": (ask, regenerate, regenerate_root, steer_queued),
    "message.updated": (
        *(fail, cancel, edit, cap_and_continue),
        *(pin, pin_and_edit, pin_and_take_back, vote),
        *(steer, steer_and_stop, steer_at_the_end),
        *(propose_calls, go_on),
    ),
    "message.deleted": (
        *(delete, delete_question, pin_and_delete),
        *(delete_version, delete_replaced_version, delete_answer_with_calls),
    ),
    "reaction.changed": (react, react_and_take_back),
    "message.completed": (complete, pin_streaming, complete_version, complete_pinned_version),
    "thread.changed": (reply, delete_reply, answer_in_thread),
    "run.queued": (ask,),
    "run.started": (ask,),
    "run.completed": (complete,),
    "run.failed": (fail,),
    "run.cancelled": (cancel, archive),
    "question.asked": (ask_people,),
    "question.answered": (answer_question, close_question, withdraw_question),
    "round.changed": (
        *(begin_round, finish_round, pause_round),
        *(retry_step, skip_step, cancel_round, delete_round),
    ),
    "run.waiting": (ask_people, wait_for_people),
    "approval.requested": (propose_calls, wait_for_people),
    "approval.decided": (allow, expire_call, withdraw),
    "turns.capped": (cap,),
    "member.added": (add,),
    "member.changed": (demote, edit_profile),
    "member.removed": (remove,),
    "room.changed": (rename, archive_and_restore, mute, mute_and_unbind),
    "room.archived": (archive,),
    "persona.bound": (bind,),
    "persona.unbound": (delete_default_persona, delete_persona_with_answers, confine),
    "persona.changed": (edit_persona,),
}
DELETES_THE_ROOM = {"room.deleted"}


def test_every_durable_event_has_a_case() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in DurableEvent.__subclasses__()}

    assert kinds == CASES.keys() | DELETES_THE_ROOM


@pytest.mark.parametrize(
    ("kind", "act"), [(kind, act) for kind, acts in CASES.items() for act in acts]
)
def test_old_state_and_events_give_the_new_snapshot(cast: Cast, kind: str, act: Act) -> None:
    before, seq = state_of(cast), cast.refreshed().last_seq

    act(cast)

    events = [msgspec.json.decode(entry.frame) for entry in events_after(cast.room.pk, seq)]
    assert kind in [event["type"] for event in events]
    for event in events:
        apply_event(before, event, str(cast.member.pk))
    assert before == state_of(cast)


def test_deleted_room_has_one_last_event_and_no_snapshot(cast: Cast) -> None:
    seq = cast.refreshed().last_seq

    services.delete_room(user=cast.owner, room_id=cast.room.pk)

    assert [event.type for event in events_after(cast.room.pk, seq)] == ["room.deleted"]
    with pytest.raises(NotFound):
        state_of(cast)


def test_comparison_detects_a_change_without_an_event(cast: Cast) -> None:
    """The control: a row that is changed without an event."""
    before = state_of(cast)

    Room.objects.filter(pk=cast.room.pk).update(topic="CANARY")

    assert before != state_of(cast)
