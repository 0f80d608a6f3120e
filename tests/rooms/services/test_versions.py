"""Versions of an answer: a retry of a completed run replaces its answer, which is kept."""

import pytest
from django.urls import reverse

from accounts.errors import Conflict, Forbidden
from rooms import queries, services
from rooms.fanout.unread import count_unread_of
from rooms.models import AnswersIn, Message, MessageStatus, Run, RunState
from rooms.runs import claims, lifecycle
from rooms.services import runs
from tests.rooms.claiming import claim_and_start, conversation_of
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import answer, browser, say

pytestmark = pytest.mark.django_db


def start(cast: Cast, run: Run) -> lifecycle.Job:
    """Retry a run and start the new one."""
    services.retry_run(user=cast.member, run_id=run.pk)
    started = claim_and_start("worker")
    assert started is not None
    assert started[1] is not None
    return started[1]


def again(cast: Cast, run: Run, text: str) -> Run:
    job = start(cast, run)
    lifecycle.complete(job, text, None)
    return Run.objects.get(pk=job.run)


def texts(cast: Cast) -> list[str]:
    messages, _complete = queries.newest_messages(cast.refreshed())
    return [message.text for message in messages]


def run_on(cast: Cast, run: Run, state: RunState) -> Run:
    """Return a run in which the persona replies to the answer of `run`."""
    assert run.answer_id is not None
    return Run.objects.create(
        room=cast.room,
        team=cast.team,
        message_id=run.answer_id,
        persona=cast.persona,
        requested_by=cast.member,
        state=state,
    )


def test_new_version_stands_in_the_place_of_the_answer(cast: Cast) -> None:
    first = answer(cast, "first")
    say(cast, cast.owner, "later")

    second = again(cast, first, "second")
    third = again(cast, second, "third")

    assert texts(cast) == ["question", "third", "later"]
    versions = queries.versions_of(cast.room, Message.objects.get(text="second"))
    assert [version.pk for version in versions] == [
        each.answer_id for each in (first, second, third)
    ]
    assert [version.text for version in versions] == ["first", "second", "third"]
    assert [version.answer_version for version in versions] == [1, 2, 3]
    assert [version.persona_version for version in versions] == [cast.persona.version] * 3


def test_new_version_changes_no_unread_count(cast: Cast) -> None:
    first = answer(cast, "first @owner")
    say(cast, cast.member, "later")
    pairs = [(cast.room.pk, user.pk) for user in (cast.owner, cast.member)]
    services.mark_read(user=cast.member, room_id=cast.room.pk, seq=cast.refreshed().last_seq)
    before = [(each.messages, each.mentions) for each in count_unread_of(pairs)]

    again(cast, first, "second @owner")

    counts = count_unread_of(pairs)
    assert [(each.messages, each.mentions) for each in counts] == before == [(3, 1), (0, 0)]
    back = services.set_read_position(user=cast.owner, room_id=cast.room.pk, seq=0)
    assert (back.messages, back.mentions) == (3, 1)


def test_deleted_answer_counts_once(cast: Cast) -> None:
    again(cast, answer(cast, "first"), "second")
    shown = Message.objects.get(text="second")

    services.delete_message(user=cast.owner, message_id=shown.pk)

    (counts,) = count_unread_of([(cast.room.pk, cast.owner.pk)])
    assert counts.messages == 1
    assert not Message.objects.filter(persona=cast.persona).exclude(text="").exists()


def test_later_prompts_contain_only_the_last_version(cast: Cast) -> None:
    again(cast, answer(cast, "first"), "second")
    services.post_message(user=cast.member, room_id=cast.room.pk, text="next")

    turns = conversation_of(Run.objects.get(state=RunState.QUEUED)).turns

    assert [turn.text for turn in turns] == ["question", "second", "next"]


def test_failed_version_can_be_retried_in_its_place(cast: Cast) -> None:
    first = answer(cast, "first")
    job = start(cast, first)
    services.cancel_run(user=cast.member, run_id=job.run)

    again(cast, Run.objects.get(pk=job.run), "third")

    assert texts(cast) == ["question", "third"]


def test_version_that_is_cancelled_in_the_queue_leaves_the_answer(cast: Cast) -> None:
    run = services.retry_run(user=cast.member, run_id=answer(cast, "first").pk)

    services.cancel_run(user=cast.member, run_id=run.pk)

    assert texts(cast) == ["question", "first"]
    assert Message.objects.get(text="first").replaced_by is None


def test_deletion_ends_a_version_that_waits_or_streams(cast: Cast) -> None:
    waiting = services.retry_run(user=cast.member, run_id=answer(cast, "first").pk)
    services.delete_message(user=cast.owner, message_id=Message.objects.get(text="first").pk)
    streaming = start(cast, answer(cast, "other"))

    services.delete_message(user=cast.owner, message_id=Message.objects.get(text="other").pk)

    states = Run.objects.filter(pk__in=[waiting.pk, streaming.run]).values_list("state", flat=True)
    assert set(states) == {RunState.CANCELLED}
    assert Message.objects.get(pk=streaming.message).deleted_at is not None
    assert not Message.objects.filter(status=MessageStatus.STREAMING).exists()


def test_replaced_version_and_too_many_versions_are_refused(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer(cast, "first")
    second = again(cast, first, "second")
    monkeypatch.setattr(runs, "MAX_VERSIONS", 2)

    for run in (first, second):
        with pytest.raises(Conflict):
            services.retry_run(user=cast.member, run_id=run.pk)


def test_answer_is_not_replaced_while_another_persona_replies_to_it(cast: Cast) -> None:
    run = answer(cast, "first")
    assert run.answer is not None
    reply = run_on(cast, run, RunState.QUEUED)

    with pytest.raises(Conflict):
        services.retry_run(user=cast.member, run_id=run.pk)
    Run.objects.filter(pk=reply.pk).update(state=RunState.COMPLETED)
    services.retry_run(user=cast.member, run_id=run.pk)


def reply_to(cast: Cast, message_id: object) -> None:
    services.post_message(
        user=cast.member,
        room_id=cast.room.pk,
        text="a reply",
        reply_to=message_id,  # type: ignore[arg-type]  # the id of a message
        personas=[],
    )


def ask_in_thread(cast: Cast, root: Run, text: str = "@reader, and the persona?") -> Run:
    posted = services.post_message(
        user=cast.owner,
        room_id=cast.room.pk,
        text=text,
        reply_to=root.answer_id,
        personas=[cast.persona.pk],
    )
    return Run.objects.get(pk=posted.runs[0])


def test_thread_of_an_answer_moves_to_its_new_version(cast: Cast) -> None:
    first = answer(cast, "first")
    reply_to(cast, first.answer_id)
    stopped = ask_in_thread(cast, first)
    services.cancel_run(user=cast.owner, run_id=stopped.pk)
    ask_in_thread(cast, first)
    _claimed, inside = claim_and_start("worker")  # type: ignore[misc]  # it was queued
    assert inside is not None

    job = start(cast, first)
    lifecycle.complete(inside, "inside", None)
    lifecycle.complete(job, "second", None)
    reply_to(cast, first.answer_id)

    old, new = Message.objects.get(text="first"), Message.objects.get(text="second")
    replies = Message.objects.filter(thread_root=new).order_by("seq")
    said = [each.text for each in replies]
    assert said == ["a reply", *["@reader, and the persona?"] * 2, "inside", "a reply"]
    assert not Message.objects.filter(thread_root=old).exists()
    assert (old.reply_count, old.last_reply_seq, old.last_reply_at) == (0, None, None)
    assert (new.reply_count, new.last_reply_seq) == (5, replies[4].seq)
    assert set(new.followers.values_list("user__name", flat=True)) == {"Member", "Owner", "Reader"}
    assert texts(cast) == ["question", "second"]
    assert services.retry_run(user=cast.owner, run_id=stopped.pk).thread == new.pk


def test_earlier_version_stands_for_the_thread_of_the_last_one(cast: Cast) -> None:
    first = answer(cast, "first")
    assert first.answer is not None
    services.cancel_run(user=cast.owner, run_id=ask_in_thread(cast, first).pk)
    again(cast, again(cast, first, "second"), "third")
    last = Message.objects.get(text="third")

    of_thread = queries.messages_of(cast.room, str(first.answer_id))
    opened = queries.thread_messages(cast.room.pk, [first.answer.pk], before=10**6)
    services.mark_thread_read(user=cast.reader, message_id=first.answer.pk, seq=10**6)
    row = services.follow_thread(user=cast.reader, message_id=first.answer.pk, on=False)

    assert [each.pk for each in of_thread.order_by("seq")] == [each.id for each in opened]
    assert opened[0].id == last.pk
    assert row is not None
    assert (row.root_id, row.is_unread) == (last.pk, False)
    address = reverse("rooms:thread", args=[cast.room.pk, first.answer.pk])
    shown = browser(cast.member).get(address)
    assert shown.headers["Location"].startswith(address.replace(str(first.answer.pk), str(last.pk)))
    data = browser(cast.member).get(f"{address}data/").json()
    assert (data["root"], len(data["messages"])) == (str(last.pk), 2)


@pytest.mark.parametrize("is_version_first", [True, False])
def test_version_and_an_answer_in_its_thread_start_together(
    cast: Cast, *, is_version_first: bool
) -> None:
    first = answer(cast, "first")
    if is_version_first:
        services.retry_run(user=cast.member, run_id=first.pk)
    ask_in_thread(cast, first, "inside?")
    if not is_version_first:
        services.retry_run(user=cast.member, run_id=first.pk)

    jobs = lifecycle.start("worker", claims.claim("worker", limit=2))

    assert len(jobs) == 2
    jobs_by_replaces = {Run.objects.get(pk=job.run).replaces: job for job in jobs}
    version, inside = jobs_by_replaces.pop(first.answer_id), jobs_by_replaces.pop(None)
    root, said = Message.objects.get(pk=version.message), Message.objects.get(pk=inside.message)
    assert (said.thread_root_id, root.thread_root_id) == (root.pk, None)
    assert (root.reply_count, root.last_reply_seq) == (2, said.seq)
    assert [turn.text for turn in inside.turns] == ["first", "inside?"]
    assert Run.objects.get(pk=inside.run).thread == root.pk


def test_answer_to_a_replaced_version_is_not_retried(cast: Cast) -> None:
    first = answer(cast, "first")
    assert first.answer_id is not None
    failed = run_on(cast, first, RunState.FAILED)
    second = again(cast, first, "second")

    with pytest.raises(Conflict):
        services.retry_run(user=cast.member, run_id=failed.pk)
    Run.objects.filter(pk=failed.pk).update(message=second.answer_id)
    assert services.retry_run(user=cast.member, run_id=failed.pk).message_id == second.answer_id


def test_only_the_asker_and_moderators_make_versions(cast: Cast) -> None:
    run = answer(cast, "first")

    with pytest.raises(Forbidden):
        services.retry_run(user=cast.reader, run_id=run.pk)
    services.retry_run(user=cast.moderator, run_id=run.pk)

    with pytest.raises(Conflict):  # one at a time
        services.retry_run(user=cast.member, run_id=run.pk)


def test_followers_of_a_thread_without_replies_follow_that_of_the_new_version(cast: Cast) -> None:
    run = answer(cast, "first")
    assert run.answer is not None
    services.follow_thread(user=cast.reader, message_id=run.answer.pk, on=True)

    second = again(cast, run, "second")

    assert second.answer is not None
    assert second.answer.followers.get().user == cast.reader


def test_reply_to_a_replaced_version_is_in_the_thread_of_the_last_one(cast: Cast) -> None:
    first = answer(cast, "first")
    last = again(cast, again(cast, first, "second"), "third")

    reply_to(cast, first.answer_id)

    posted = Message.objects.get(text="a reply")
    assert (posted.thread_root_id, posted.reply_to_id) == (last.answer_id, last.answer_id)


def test_new_version_keeps_its_place_when_the_room_answers_elsewhere(cast: Cast) -> None:
    first = answer(cast, "first")
    count = cast.refreshed().message_count
    services.update_room(user=cast.owner, room_id=cast.room.pk, answers_in=AnswersIn.THREAD)

    second = again(cast, first, "second")

    assert second.answer is not None
    assert (second.thread, second.answer.thread_root_id, second.answer.in_room) == (
        None,
        None,
        True,
    )
    assert texts(cast) == ["question", "second"]
    assert cast.refreshed().message_count == count


def test_version_that_never_started_is_retried_in_its_place(cast: Cast) -> None:
    run = services.retry_run(user=cast.member, run_id=answer(cast, "first").pk)
    services.cancel_run(user=cast.member, run_id=run.pk)

    again(cast, Run.objects.get(pk=run.pk), "second")

    assert texts(cast) == ["question", "second"]


def test_prompt_about_a_replaced_version_ends_with_it(cast: Cast) -> None:
    first = answer(cast, "first")
    assert first.answer_id is not None
    about = Run.objects.create(
        room=cast.room,
        team=cast.team,
        message_id=first.answer_id,
        persona=cast.persona,
        requested_by=cast.member,
        state=RunState.CANCELLED,
    )
    say(cast, cast.owner, "later")
    again(cast, first, "second")

    turns = conversation_of(Run.objects.get(pk=about.pk)).turns

    assert [turn.text for turn in turns] == ["question", "first"]


def test_chain_does_not_continue_at_a_replaced_version(cast: Cast) -> None:
    first = answer(cast, "first")
    assert first.answer_id is not None
    Message.objects.filter(pk=first.answer_id).update(capped_at=1)
    again(cast, first, "second")
    assert Message.objects.get(pk=first.answer_id).capped_at is None
    Message.objects.filter(pk=first.answer_id).update(capped_at=1)

    with pytest.raises(Conflict):
        services.continue_answers(user=cast.owner, message_id=first.answer_id)
