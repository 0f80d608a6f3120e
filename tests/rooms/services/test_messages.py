"""Edits, deletions and reactions, and what they leave in the database."""

from uuid import UUID

import msgspec
import pytest
from pytest_django import Settings

from accounts import rate_limits
from accounts.errors import Conflict, Forbidden, Invalid, NotFound, RateLimited, TooLarge
from accounts.models import AuditEntry, User
from accounts.services import update_profile
from agents.engine_types import AnswerFailed
from agents.services import delete_persona
from rooms import services
from rooms.fanout.unread import count_unread
from rooms.markup import ParsedText, parse
from rooms.models import Message, RoomEvent, Run, RunState
from rooms.pages.sidebar import ListPages, list_context
from rooms.protocol.commands import TEXT_LIMIT
from rooms.runs import leases, lifecycle
from rooms.runs.delta_store import MemoryDeltaStore, StoredDeltas
from rooms.services import messages
from tests.rooms.claiming import claim_and_start, conversation_of
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import answer, browser, page

pytestmark = pytest.mark.django_db


def post(cast: Cast, text: str) -> Message:
    return services.post_message(
        user=cast.member, room_id=cast.room.pk, text=text, personas=[]
    ).message


def test_message_has_the_present_name_of_its_author(cast: Cast) -> None:
    user_of_the_handshake = User.objects.get(pk=cast.member.pk)
    update_profile(user=cast.member, name="Another name")

    posted = services.post_message(
        user=user_of_the_handshake, room_id=cast.room.pk, text="x", personas=[]
    )

    assert posted.message.author_name == "Another name"
    event = RoomEvent.objects.get(room=cast.room, type="message.created")
    assert '"name":"Another name"' in event.payload


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the services for messages have parsed."""
    texts: list[str] = []

    def note(text: str) -> ParsedText:
        texts.append(text)
        return parse(text)

    monkeypatch.setattr(messages, "parse", note)
    return texts


LONG = "a long text " * 1_000


def test_long_text_that_is_refused_or_repeated_is_not_parsed(
    cast: Cast, parsed: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = services.post_message(
        user=cast.member, room_id=cast.room.pk, text=LONG, client_id=UUID(int=1)
    )
    assert parsed == [LONG]
    again = services.post_message(
        user=cast.member, room_id=cast.room.pk, text=LONG, client_id=UUID(int=1)
    )
    assert (again.message.pk, again.runs) == (first.message.pk, first.runs)
    for user, error in ((cast.stranger, NotFound), (cast.reader, Forbidden)):
        with pytest.raises(error):
            services.post_message(user=user, room_id=cast.room.pk, text=LONG)
        with pytest.raises(error):
            services.edit_message(user=user, message_id=first.message.pk, text=LONG)
    settings.RATE_LIMITS = True
    limit = rate_limits.RateLimit(0, 30)
    monkeypatch.setattr(
        rate_limits, "LIMITS", {**rate_limits.LIMITS, (rate_limits.SEND, rate_limits.USER): limit}
    )
    with pytest.raises(RateLimited):
        services.post_message(user=cast.member, room_id=cast.room.pk, text=LONG)
    with pytest.raises(RateLimited):
        services.edit_message(user=cast.member, message_id=first.message.pk, text=LONG)

    assert parsed == [LONG]


@pytest.mark.parametrize("text", ["", "\u200b", "x" * (TEXT_LIMIT + 1), "x\x00"])
def test_access_is_judged_before_the_text(cast: Cast, text: str) -> None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="hello")

    with pytest.raises(NotFound):
        services.post_message(user=cast.stranger, room_id=cast.room.pk, text=text)
    with pytest.raises(NotFound):
        services.edit_message(user=cast.stranger, message_id=posted.message.pk, text=text)


def test_text_beyond_the_limit_is_refused_before_it_is_examined(
    cast: Cast, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = post(cast, "x")
    examined: list[str] = []
    monkeypatch.setattr(messages, "is_blank", examined.append)
    invisible = "\u200b" * 350_000

    with pytest.raises(TooLarge):
        post(cast, invisible)
    with pytest.raises(TooLarge):
        services.edit_message(user=cast.member, message_id=message.pk, text=invisible)

    assert (examined, parsed) == ([], ["x"])


def test_message_has_at_most_twenty_different_reactions(cast: Cast) -> None:
    message = post(cast, "popular")
    emoji = [chr(0x1F600 + number) for number in range(21)]
    for reaction in emoji[:20]:
        services.react(user=cast.owner, message_id=message.pk, emoji=reaction, on=True)

    with pytest.raises(Conflict):
        services.react(user=cast.owner, message_id=message.pk, emoji=emoji[20], on=True)
    services.react(user=cast.member, message_id=message.pk, emoji=emoji[0], on=True)
    services.react(user=cast.owner, message_id=message.pk, emoji=emoji[1], on=False)
    services.react(user=cast.owner, message_id=message.pk, emoji=emoji[20], on=True)

    message.refresh_from_db()
    assert len(message.reactions) == 20
    assert message.reactions[emoji[0]] == [str(cast.owner.pk), str(cast.member.pk)]


@pytest.mark.parametrize("author", [rate_limits.USER, rate_limits.ROOM, rate_limits.TEAM])
def test_only_reactions_that_change_something_are_rate_limited(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, author: str
) -> None:
    settings.RATE_LIMITS = True
    monkeypatch.setattr(
        rate_limits, "LIMITS", {(rate_limits.REACT, author): rate_limits.RateLimit(1, 60)}
    )
    counters = rate_limits.MemoryCounters()
    monkeypatch.setattr(rate_limits, "get_counters", lambda: counters)
    message = post(cast, "x")

    for _ in range(3):
        services.react(user=cast.member, message_id=message.pk, emoji="👍", on=True)
    with pytest.raises(RateLimited):
        services.react(user=cast.member, message_id=message.pk, emoji="👍", on=False)

    message.refresh_from_db()
    assert message.reactions == {"👍": [str(cast.member.pk)]}


def test_reaction_that_is_no_emoji_is_refused(cast: Cast) -> None:
    message = post(cast, "x")
    before = cast.refreshed().last_seq

    with pytest.raises(Invalid):
        services.react(user=cast.member, message_id=message.pk, emoji="<b>", on=True)

    assert cast.refreshed().last_seq == before


def test_deleted_message_is_neither_unread_nor_the_last_message(cast: Cast) -> None:
    post(cast, "before")
    message = post(cast, "@owner look")
    (before,) = count_unread([cast.room.pk], [cast.owner.pk])

    services.delete_message(user=cast.member, message_id=message.pk)

    (after,) = count_unread([cast.room.pk], [cast.owner.pk])
    assert (before.messages - after.messages, before.mentions - after.mentions) == (1, 1)
    (row,) = list_context(cast.owner, cast.team, ListPages())["room_rows"]
    assert row.last_line.endswith("before")


def test_only_deletions_by_moderators_are_audited(cast: Cast) -> None:
    first, second = post(cast, "one"), post(cast, "two")

    services.delete_message(user=cast.member, message_id=first.pk)
    services.delete_message(user=cast.moderator, message_id=second.pk)

    (entry,) = AuditEntry.objects.filter(action="message.deleted")
    assert (entry.actor_id, entry.target_id) == (cast.moderator.pk, second.pk)
    assert (entry.before, entry.after) == ({}, {})


def test_deleted_text_is_in_no_row(cast: Cast) -> None:
    message = post(cast, "SECRET one")
    services.edit_message(user=cast.member, message_id=message.pk, text="SECRET two")
    other = post(cast, "SECRET of another message")

    services.delete_message(user=cast.member, message_id=message.pk)

    payloads = [event.payload for event in RoomEvent.objects.filter(payload__contains="SECRET")]
    assert [msgspec.json.decode(payload)["message"]["id"] for payload in payloads] == [
        str(other.pk)
    ]
    assert list(Message.objects.filter(text__contains="SECRET")) == [other]


def test_deleted_message_is_not_among_the_turns(cast: Cast) -> None:
    message = post(cast, "SECRET")
    services.post_message(user=cast.member, room_id=cast.room.pk, text="and now?")
    services.delete_message(user=cast.member, message_id=message.pk)

    assert [turn.text for turn in conversation_of(Run.objects.get()).turns] == ["and now?"]


def test_deletion_of_a_streaming_answer_cancels_its_run(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="go on")
    claimed = claim_and_start("worker")
    assert claimed is not None
    run_id, job = claimed
    assert job is not None

    services.delete_message(user=cast.moderator, message_id=job.message)

    with pytest.raises(leases.LeaseLost):
        lifecycle.complete(job, "SECRET", None)
    run = Run.objects.select_related("answer").get(pk=run_id)
    assert (run.state, run.stopped_by_id) == (RunState.CANCELLED, cast.moderator.pk)
    assert run.answer is not None
    assert run.answer.text == ""


async def test_purged_answer_is_empty_and_accepts_no_delta(cast: Cast) -> None:
    store, message = MemoryDeltaStore(), cast.room.pk
    await store.append(message, 1, ["SECRET"], 0)

    store.purge(message, 1)

    assert await store.read(message, 1) == StoredDeltas(1, 0, [])
    assert await store.append(message, 1, ["SECRET", "more"], 1) is None
    store.purge(cast.team.pk, 1)
    assert list(store._answers) == [message]


def test_messages_of_a_deleted_persona_are_kept(cast: Cast) -> None:
    ended = answer(cast, "CANARY"), answer(cast, failure=AnswerFailed("internal"))
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
