"""A client that rejoins gets the events that it has missed, or the state of the room."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from pytest_django import Settings

from accounts.errors import MaruError
from accounts.models import User
from rooms import event_log, queries
from rooms.fanout.publisher import LogEntry
from rooms.permissions import RoomView, view_many
from rooms.protocol.payloads import RoomState
from rooms.services import post_message
from rooms.socket import joins
from rooms.socket.snapshots import read_log, read_state
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import run_harness

pytestmark = pytest.mark.django_db


def post(cast: Cast, times: int, text: str = "hello") -> None:
    for _ in range(times):
        post_message(user=cast.owner, room_id=cast.room.pk, text=text, personas=[])


def test_events_of_several_queries_are_returned_together(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "EVENTS_PER_QUERY", 3)
    post(cast, 7)
    last = cast.refreshed().last_seq

    events = read_log(cast.room.pk, last - 7).events_after(last - 7)

    assert events == tuple(event_log.events_after(cast.room.pk, last - 7))
    assert len(events) == 7


def test_events_over_the_byte_limit_are_replaced_by_the_state(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "MAX_BYTES", 10_000)
    post(cast, 5, "x" * 3_000)
    last = cast.refreshed().last_seq

    read = read_log(cast.room.pk, last - 5)

    assert read.events_after(last - 1) is not None
    assert read.events_after(last - 5) is None


def test_state_over_the_byte_limit_has_fewer_messages_and_says_so(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(cast, 5, "x" * 3_000)
    sent = [message.seq for message in cast.room.messages.order_by("seq")]

    def state(before: int | None = None) -> RoomState:
        return queries.room_state(cast.refreshed(), [], before)

    assert state().messages_complete
    monkeypatch.setattr(queries, "MAX_BYTES", 13_000)  # text and HTML of two messages
    last = state()
    first = state(before=sent[2])

    assert [message.seq for message in last.messages] == sent[3:]
    assert not last.messages_complete
    assert [message.seq for message in first.messages] == sent[:2]
    assert first.messages_complete
    monkeypatch.setattr(queries, "MAX_BYTES", 1)
    assert [message.seq for message in state().messages] == sent[4:]


def test_longest_messages_fit_into_a_bounded_snapshot(cast: Cast) -> None:
    longest = [("<a@b.c>" * 2_286)[:16_000], "&" * 16_000, "가" * 16_000, "|a" * 8_000]
    for text in longest * 5:
        post(cast, 1, text)

    state = read_state(cast.room.pk).state
    replayed = read_log(cast.room.pk, 0)

    assert len(state) < queries.MAX_BYTES * 1.1
    assert replayed.events_after(0) is None


def test_log_is_read_to_its_end_in_parts_of_bounded_size(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(cast, 6, "x" * 3_000)
    whole = event_log.events_after(cast.room.pk, 0)
    monkeypatch.setattr(event_log, "MAX_BYTES", 15_000)

    read: list[LogEntry] = []
    parts = 0
    while part := event_log.events_after(cast.room.pk, read[-1].seq if read else 0):
        read += part
        parts += 1
        assert sum(len(event.frame) for event in part) <= 15_000

    assert read == whole
    assert parts > 1


def test_client_that_is_up_to_date_gets_no_events(cast: Cast) -> None:
    last = cast.refreshed().last_seq

    assert read_log(cast.room.pk, last).events_after(last) == ()


@pytest.mark.parametrize("ahead", [1, 10**9])
@pytest.mark.django_db(transaction=True)
async def test_client_ahead_of_the_log_gets_the_state(cast: Cast, ahead: int) -> None:
    async with run_harness() as harness:
        last = await harness.do(lambda: cast.refreshed().last_seq)
        snapshot = await harness.connect(cast.member).join(cast.room.pk, last + ahead)

    assert not snapshot["complete"]
    assert snapshot["state"]["room"]["id"] == str(cast.room.pk)


@pytest.mark.django_db(transaction=True)
async def test_join_of_a_subscribed_room_checks_permission_once_and_refuses_a_stranger(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = False
    checked: list[User] = []

    def counted(asked: Sequence[tuple[User, UUID]]) -> list[RoomView | MaruError]:
        checked.extend(user for user, _room in asked)
        return view_many(asked)

    monkeypatch.setattr(joins, "view_many", counted)
    async with run_harness() as harness:
        owner, member, stranger = map(harness.connect, (cast.owner, cast.member, cast.stranger))
        for client in (owner, member, stranger):
            refusal = await client.join(cast.room.pk)
        await owner.say(cast.room.pk, "hello")
        await harness.settled(owner, member, stranger)

    assert [checked.count(user) for user in (cast.owner, cast.member, cast.stranger)] == [2, 1, 1]
    assert member.joined(cast.room.pk)
    assert refusal["code"] == "not_found"
    assert stranger.received == [refusal]
    assert not stranger.joined(cast.room.pk)
