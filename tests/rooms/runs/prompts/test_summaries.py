"""The rolling summary of a room: when it is written, of what, and when it is dropped."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.engine_types import Usage
from agents.services import update_persona
from rooms import services
from rooms.models import Message, RoomSummary, SummaryState
from rooms.runs import lifecycle
from rooms.runs.lifecycle import Job
from rooms.runs.prompts import summaries, summarizer
from rooms.runs.prompts.budget import MAX_TURNS
from rooms.runs.prompts.summaries import MIN_TURNS, claim, purge_summaries, store
from tests.provider import Provider
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast
from tests.rooms.runs.prompts.asking import answered, say, started, talk
from tests.rooms.runs.prompts.test_context import write_summary

pytestmark = pytest.mark.django_db

FALLEN = MIN_TURNS + 2
"""The number of the last message that no longer fits, so that a summary is queued."""


@pytest.fixture
def _in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loop use the database in the thread of the test, which sees its transaction."""

    async def here(_pool: object, function: Callable[..., object], *args: object) -> object:
        return await sync_to_async(function)(*args)

    monkeypatch.setattr(summarizer, "in_thread", here)


write_next = async_to_sync(summarizer.write_next)


def full_room(cast: Cast) -> Job:
    """Fill a room so that messages fall out of the turns of the run that is returned."""
    talk(cast, MAX_TURNS + FALLEN)
    return started(cast.member, cast.room, "question")


def queued(cast: Cast) -> RoomSummary:
    assert summaries.request([full_room(cast)])
    return RoomSummary.objects.get()


def test_summary_is_queued_when_enough_messages_have_fallen_out(asked: Cast) -> None:
    talk(asked, MAX_TURNS + MIN_TURNS - 2)
    assert not summaries.request([started(asked.member, asked.room, "one too few")])

    say(asked.owner, asked.room, "one more")
    say(asked.owner, asked.room, "and one")
    job = started(asked.member, asked.room, "question")
    assert summaries.request([job])

    row = RoomSummary.objects.get()
    assert job.from_seq is not None
    assert (row.room_id, row.up_to_seq) == (asked.room.pk, job.from_seq - 1)


@pytest.mark.usefixtures("_in_one_thread")
def test_an_answer_that_waits_does_not_stop_the_summary(asked: Cast, provider: Provider) -> None:
    talk(asked, MIN_TURNS + 2)
    slow = started(asked.member, asked.room, "slow question")
    unfinished = Message.objects.get(pk=slow.message)
    talk(asked, MAX_TURNS + FALLEN, "later")
    job = started(asked.member, asked.room, "question")

    assert summaries.request([job])
    assert write_next("worker")

    first = RoomSummary.objects.get()
    assert job.from_seq is not None
    assert job.from_seq > unfinished.seq
    assert (first.up_to_seq, first.passed_over) == (job.from_seq - 1, [str(slow.message)])
    assert "later 0" in first.text


@pytest.mark.usefixtures("_in_one_thread")
def test_an_answer_that_ends_late_is_in_the_next_summary(asked: Cast, provider: Provider) -> None:
    talk(asked, MIN_TURNS + 2)
    slow = started(asked.member, asked.room, "slow question")
    talk(asked, MAX_TURNS + FALLEN, "later")
    assert summaries.request([started(asked.member, asked.room, "question")])
    write_next("worker")
    RoomSummary.objects.update(text="They chose oak.")
    say(asked.owner, asked.room, "one more")
    assert not summaries.request([started(asked.member, asked.room, "nothing is new")])

    lifecycle.complete(slow, "the late answer", None)
    say(asked.owner, asked.room, "and one")
    provider.clear()
    assert summaries.request([started(asked.member, asked.room, "next question")])
    write_next("worker")

    prompt = provider.requests[-1].prompt
    assert "They chose oak." in prompt
    assert "the late answer" in prompt
    last = RoomSummary.objects.current()
    assert last is not None
    assert str(slow.message) not in last.passed_over
    assert not summaries.request([started(asked.member, asked.room, "it is summarized")])


def test_room_has_at_most_one_queued_summary(asked: Cast) -> None:
    job = full_room(asked)
    assert summaries.request([job])

    assert not summaries.request([job, job])
    assert RoomSummary.objects.count() == 1


def test_demo_persona_and_switched_off_room_get_no_summary(cast: Cast) -> None:
    job = full_room(cast)
    assert job.spec.kind == "demo"
    assert not summaries.request([job])


def test_room_that_wants_no_summary_gets_none(asked: Cast) -> None:
    services.update_room(user=asked.owner, room_id=asked.room.pk, summarizes=False)

    assert not summaries.request([full_room(asked)])


@pytest.mark.usefixtures("_in_one_thread")
def test_summary_is_written_by_the_model_of_the_persona(asked: Cast, provider: Provider) -> None:
    row = queued(asked)
    provider.clear()

    assert write_next("worker")
    assert not write_next("worker")

    row.refresh_from_db()
    (seen,) = provider.requests
    assert row.state == SummaryState.WRITTEN
    assert "turn 0" in row.text  # the model repeats its prompt
    assert "[person Owner]\nturn 0\n" in seen.prompt
    assert f"\nturn {FALLEN}\n" in seen.prompt
    assert f"\nturn {FALLEN + 1}\n" not in seen.prompt
    assert seen.body["max_tokens"] == summarizer.MAX_OUTPUT_TOKENS
    assert "tools" not in seen.body
    assert (row.input_tokens or 0) > 0
    assert asked.persona.role not in seen.prompt


@pytest.mark.usefixtures("_in_one_thread")
def test_next_summary_is_made_of_the_one_before_and_the_messages_since(
    asked: Cast, provider: Provider
) -> None:
    queued(asked)
    write_next("worker")
    RoomSummary.objects.update(text="They chose oak.")
    talk(asked, FALLEN, "later")
    provider.clear()
    job = started(asked.member, asked.room, "next question")

    assert job.surroundings.summary is not None
    assert summaries.request([job])
    write_next("worker")

    prompt = provider.requests[-1].prompt
    assert "They chose oak." in prompt
    assert "\nturn 0\n" not in prompt
    assert f"\nturn {FALLEN}\n" not in prompt
    assert f"\nturn {FALLEN + 1}\n" in prompt
    assert RoomSummary.objects.written().count() == 2


@pytest.mark.usefixtures("_in_one_thread")
def test_claim_of_a_dead_worker_is_repeated_and_stored_once(asked: Cast) -> None:
    queued(asked)
    lost = claim("killed")
    assert lost is not None
    assert claim("other") is None

    RoomSummary.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert write_next("other")

    assert not store(lost, "of the dead worker", Usage(1, 1))
    row = RoomSummary.objects.get()
    assert (row.state, row.attempt) == (SummaryState.WRITTEN, 2)
    assert "of the dead worker" not in row.text


def test_summary_that_was_tried_three_times_fails_and_the_room_pauses(asked: Cast) -> None:
    queued(asked)
    for _ in range(summaries.MAX_ATTEMPTS):
        assert claim("killed") is not None
        RoomSummary.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert claim("other") is None
    assert RoomSummary.objects.get().state == SummaryState.FAILED
    assert not summaries.request([started(asked.member, asked.room, "again")])
    RoomSummary.objects.update(created_at=timezone.now() - 2 * summaries.PAUSE)
    assert summaries.request([started(asked.member, asked.room, "again")])


@pytest.mark.usefixtures("_in_one_thread")
def test_failure_of_the_provider_ends_the_summary(asked: Cast, provider: Provider) -> None:
    update_persona(user=asked.owner, persona_id=asked.persona.pk, model="fault-401")
    queued(asked)

    assert write_next("worker")

    assert RoomSummary.objects.get().state == SummaryState.FAILED


def test_summary_waits_while_runs_of_the_team_wait(asked: Cast) -> None:
    queued(asked)
    services.post_message(user=asked.member, room_id=asked.room.pk, text="first")

    assert claim("worker") is None


@pytest.mark.parametrize("change", ["unbound", "off", "archived"])
def test_summary_is_not_written_without_the_persona_or_the_room(asked: Cast, change: str) -> None:
    queued(asked)
    if change == "unbound":
        services.unbind_persona(
            user=asked.owner, room_id=asked.room.pk, persona_id=asked.persona.pk
        )
    elif change == "off":
        services.update_room(user=asked.owner, room_id=asked.room.pk, summarizes=False)
    else:
        services.archive_room(user=asked.owner, room_id=asked.room.pk)

    assert claim("worker") is None
    assert not RoomSummary.objects.filter(state=SummaryState.QUEUED).exists()


def delete(cast: Cast, message: Message) -> None:
    services.delete_message(user=cast.owner, message_id=message.pk)


def edit(cast: Cast, message: Message) -> None:
    assert message.user is not None
    services.edit_message(user=message.user, message_id=message.pk, text="new words")


@pytest.mark.parametrize("change", [delete, edit])
def test_change_of_a_covered_message_drops_the_summary_in_its_transaction(
    cast: Cast, change: Callable[[Cast, Message], None]
) -> None:
    messages = talk(cast, 6)
    before = write_summary(cast, messages[2].seq, "before")
    covering = write_summary(cast, messages[4].seq, "CANARY")

    change(cast, messages[5])
    assert cast.room.summaries.current() == covering
    change(cast, messages[3])

    assert cast.room.summaries.current() == before
    assert not RoomSummary.objects.filter(text__contains="CANARY").exists()


@pytest.mark.parametrize("change", [delete, edit])
def test_summary_that_is_being_written_is_dropped_with_its_message(
    asked: Cast, change: Callable[[Cast, Message], None]
) -> None:
    row = queued(asked)
    task = claim("worker")
    assert task is not None

    change(asked, Message.objects.get(text="turn 0"))

    assert not store(task, "CANARY", None)
    row.refresh_from_db()
    assert (row.state, row.text) == (SummaryState.DROPPED, "")


def test_summary_of_texts_that_have_changed_is_not_stored(asked: Cast) -> None:
    """A deletion may commit between the claim, which reads the texts, and the queuing of a row."""
    row = queued(asked)
    task = claim("worker")
    assert task is not None
    Message.objects.filter(text="turn 0").update(text="")

    assert not store(task, "CANARY", None)
    row.refresh_from_db()
    assert (row.state, row.text) == (SummaryState.DROPPED, "")


def test_new_version_of_a_covered_answer_drops_the_summary(asked: Cast) -> None:
    first = answered(asked.member, asked.room, "question")
    assert first.answer is not None
    write_summary(asked, first.answer.seq)

    services.retry_run(user=asked.member, run_id=first.pk)
    assert claim_and_start("worker") is not None

    assert asked.room.summaries.current() is None


def test_reply_that_only_a_thread_shows_drops_nothing(cast: Cast) -> None:
    root = say(cast.owner, cast.room, "root")
    reply = say(cast.owner, cast.room, "reply", reply_to=root.pk)
    summary = write_summary(cast, reply.seq)

    delete(cast, reply)

    assert cast.room.summaries.current() == summary


def test_deletion_costs_one_query_more(cast: Cast) -> None:
    messages = talk(cast, 3)
    delete(cast, messages[0])

    with CaptureQueriesContext(connection) as captured:
        delete(cast, messages[1])

    assert sum("roomsummary" in query["sql"] for query in captured) == 1


def test_old_versions_are_purged_and_the_summary_is_kept(cast: Cast) -> None:
    for seq in (1, 2):
        write_summary(cast, seq, f"version {seq}")
    RoomSummary.objects.update(created_at=timezone.now() - timedelta(days=31))

    assert purge_summaries() == 1

    assert [row.text for row in RoomSummary.objects.all()] == ["version 2"]


def test_members_read_the_summary_and_strangers_do_not(cast: Cast) -> None:
    (message, *_rest) = talk(cast, 2)
    row = write_summary(cast, message.seq, "They chose <oak>.")
    RoomSummary.objects.update(input_tokens=1_200, output_tokens=34, written_at=timezone.now())
    browser = Client()
    api, page = f"/api/v1/rooms/{cast.room.pk}/summary", f"/rooms/{cast.room.pk}/summary/"

    for user in (cast.owner, cast.reader):
        browser.force_login(user)
        body = browser.get(api).json()
        assert (body["text"], body["up_to_seq"]) == ("They chose <oak>.", row.up_to_seq)
        assert (body["input_tokens"], body["output_tokens"]) == (1_200, 34)
        shown = browser.get(page).content.decode()
        assert "They chose &lt;oak&gt;." in shown
        assert "1,234 tokens" in shown
    browser.force_login(cast.stranger)
    assert [browser.get(path).status_code for path in (api, page)] == [404, 404]


def test_settings_switch_the_summary_off_and_a_form_without_the_field_does_not(
    cast: Cast,
) -> None:
    talk(cast, 2)
    write_summary(cast, 1)
    browser = Client()
    browser.force_login(cast.owner)
    form = {"name": "room", "privacy": "private", "answer_policy": "default"}

    browser.post(f"/rooms/{cast.room.pk}/settings/", form)
    assert cast.refreshed().summarizes
    assert cast.room.summaries.current() is not None
    browser.post(f"/rooms/{cast.room.pk}/settings/", {**form, "summarizes": "False"})
    assert not cast.refreshed().summarizes
    assert cast.room.summaries.current() is None
    browser.post(f"/rooms/{cast.room.pk}/settings/", {**form, "summarizes": "True"})
    assert cast.refreshed().summarizes


def test_room_without_a_summary_says_so(cast: Cast) -> None:
    browser = Client()
    browser.force_login(cast.owner)
    page = f"/rooms/{cast.room.pk}/summary/"

    assert "There is no summary yet." in browser.get(page).content.decode()
    services.update_room(user=cast.owner, room_id=cast.room.pk, summarizes=False)
    assert "This room keeps no summary." in browser.get(page).content.decode()
