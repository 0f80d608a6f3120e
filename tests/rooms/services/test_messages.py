"""What edits, deletions and reactions leave behind in a room."""

import msgspec
import pytest
from pytest_django import Settings

from accounts import rate_limits
from accounts.errors import Conflict, Invalid, RateLimited
from accounts.models import AuditEntry, User
from accounts.services import update_profile
from agents.engine_types import AnswerFailed
from agents.services import delete_persona
from rooms import services
from rooms.fanout.unread import count_unread
from rooms.models import Message, RoomEvent, Run, RunState
from rooms.pages.sidebar import room_rows
from rooms.runs import context, leases, lifecycle
from rooms.runs.delta_store import MemoryDeltaStore, StoredDeltas
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import answer, browser, page

pytestmark = pytest.mark.django_db


def say(cast: Cast, text: str) -> Message:
    return services.post_message(
        user=cast.member, room_id=cast.room.pk, text=text, personas=[]
    ).message


def test_author_is_called_as_they_are_called_now(cast: Cast) -> None:
    at_the_handshake = User.objects.get(pk=cast.member.pk)
    update_profile(user=cast.member, name="Another name")

    posted = services.post_message(
        user=at_the_handshake, room_id=cast.room.pk, text="x", personas=[]
    )

    assert posted.message.author_name == "Another name"
    event = RoomEvent.objects.get(room=cast.room, type="message.created")
    assert '"name":"Another name"' in event.payload


def test_message_has_twenty_different_reactions_at_most(cast: Cast) -> None:
    said = say(cast, "popular")
    emoji = [chr(0x1F600 + number) for number in range(21)]
    for one in emoji[:20]:
        services.react(user=cast.owner, message_id=said.pk, emoji=one, on=True)

    with pytest.raises(Conflict):
        services.react(user=cast.owner, message_id=said.pk, emoji=emoji[20], on=True)
    services.react(user=cast.member, message_id=said.pk, emoji=emoji[0], on=True)
    services.react(user=cast.owner, message_id=said.pk, emoji=emoji[1], on=False)
    services.react(user=cast.owner, message_id=said.pk, emoji=emoji[20], on=True)

    said.refresh_from_db()
    assert len(said.reactions) == 20
    assert said.reactions[emoji[0]] == [str(cast.owner.pk), str(cast.member.pk)]


@pytest.mark.parametrize("whose", [rate_limits.USER, rate_limits.ROOM, rate_limits.TEAM])
def test_reactions_are_counted_where_they_change_something(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    settings.RATE_LIMITS = True
    monkeypatch.setattr(
        rate_limits, "LIMITS", {(rate_limits.REACT, whose): rate_limits.RateLimit(1, 60)}
    )
    counters = rate_limits.MemoryCounters()
    monkeypatch.setattr(rate_limits, "get_counters", lambda: counters)
    said = say(cast, "x")

    for _ in range(3):
        services.react(user=cast.member, message_id=said.pk, emoji="👍", on=True)
    with pytest.raises(RateLimited):
        services.react(user=cast.member, message_id=said.pk, emoji="👍", on=False)

    said.refresh_from_db()
    assert said.reactions == {"👍": [str(cast.member.pk)]}


def test_what_is_no_emoji_changes_nothing(cast: Cast) -> None:
    said = say(cast, "x")
    before = cast.refreshed().last_seq

    with pytest.raises(Invalid):
        services.react(user=cast.member, message_id=said.pk, emoji="<b>", on=True)

    assert cast.refreshed().last_seq == before


def test_deleted_message_is_no_news_and_no_last_line(cast: Cast) -> None:
    say(cast, "before")
    said = say(cast, "@owner look")
    (news,) = count_unread([cast.room.pk], [cast.owner.pk])

    services.delete_message(user=cast.member, message_id=said.pk)

    (after,) = count_unread([cast.room.pk], [cast.owner.pk])
    assert (news.messages - after.messages, news.mentions - after.mentions) == (1, 1)
    (row,) = room_rows(cast.owner, cast.team)
    assert row.last_line.endswith("before")


def test_moderator_who_deletes_is_in_the_audit_and_an_author_not(cast: Cast) -> None:
    first, second = say(cast, "one"), say(cast, "two")

    services.delete_message(user=cast.member, message_id=first.pk)
    services.delete_message(user=cast.moderator, message_id=second.pk)

    (entry,) = AuditEntry.objects.filter(action="message.deleted")
    assert (entry.actor_id, entry.target_id) == (cast.moderator.pk, second.pk)
    assert (entry.before, entry.after) == ({}, {})


def test_no_row_holds_what_was_deleted(cast: Cast) -> None:
    said = say(cast, "SECRET one")
    services.edit_message(user=cast.member, message_id=said.pk, text="SECRET two")
    other = say(cast, "SECRET of another message")

    services.delete_message(user=cast.member, message_id=said.pk)

    held = [event.payload for event in RoomEvent.objects.filter(payload__contains="SECRET")]
    assert [msgspec.json.decode(payload)["message"]["id"] for payload in held] == [str(other.pk)]
    assert list(Message.objects.filter(text__contains="SECRET")) == [other]


def test_persona_sees_nothing_of_what_was_deleted(cast: Cast) -> None:
    said = say(cast, "SECRET")
    services.post_message(user=cast.member, room_id=cast.room.pk, text="and now?")
    services.delete_message(user=cast.member, message_id=said.pk)

    assert [turn.text for turn in context.turns(Run.objects.get())] == ["and now?"]


def test_worker_that_ends_a_deleted_answer_finds_it_stopped(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="go on")
    taken = lifecycle.claim_and_start("worker")
    assert taken is not None
    run_id, job = taken
    assert job is not None

    services.delete_message(user=cast.moderator, message_id=job.message)

    with pytest.raises(leases.LeaseLost):
        lifecycle.complete(job, "SECRET", None)
    run = Run.objects.select_related("answer").get(pk=run_id)
    assert (run.state, run.stopped_by_id) == (RunState.CANCELLED, cast.moderator.pk)
    assert run.answer is not None
    assert run.answer.text == ""


async def test_erased_answer_is_not_kept_nor_taken_in(cast: Cast) -> None:
    store, message = MemoryDeltaStore(), cast.room.pk
    await store.append(message, 1, ["SECRET"], 0)

    store.purge(message, 1)

    assert await store.read(message, 1) == StoredDeltas(1, 0, [])
    assert await store.append(message, 1, ["SECRET", "more"], 1) is None
    store.purge(cast.team.pk, 1)
    assert list(store._answers) == [message]


def test_what_a_deleted_persona_has_said_stays_as_it_was(cast: Cast) -> None:
    ended = answer(cast, "CANARY"), answer(cast, failure=AnswerFailed("internal", "No."))
    client = browser(cast.member)
    paths = [
        *(f"/api/v1/messages/{run.answer_id}" for run in ended),
        *(f"/api/v1/runs/{run.pk}" for run in ended),
    ]
    before = [client.get(path).json() for path in paths]

    delete_persona(user=cast.owner, persona_id=cast.persona.pk)

    assert [client.get(path).json() for path in paths] == before
    assert "CANARY" in page(cast.member, cast.room)
    assert client.post(f"/api/v1/runs/{ended[1].pk}/retry").status_code == 404
    following = services.post_message(user=cast.member, room_id=cast.room.pk, text="next")
    assert following.runs == []
