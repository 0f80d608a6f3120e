"""Pinned messages: who may pin, how many, and what is recorded."""

import pytest

from accounts.errors import Conflict, Forbidden, NotFound
from rooms import services
from rooms.event_log import events_after
from rooms.models import Message
from rooms.services import pins
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def say(cast: Cast, text: str = "words") -> Message:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text=text, personas=[])
    return posted.message


def test_repeated_pin_records_one_event_and_keeps_the_first_user(cast: Cast) -> None:
    message = say(cast)
    seq = cast.refreshed().last_seq

    for user in (cast.member, cast.owner):
        services.pin_message(user=user, message_id=message.pk, on=True)

    message.refresh_from_db()
    assert message.pinned_by == cast.member
    assert [event.type for event in events_after(cast.room.pk, seq)] == ["message.updated"]


def test_reader_is_refused_and_a_stranger_finds_no_message(cast: Cast) -> None:
    message = say(cast)

    for on in (True, False):
        with pytest.raises(Forbidden):
            services.pin_message(user=cast.reader, message_id=message.pk, on=on)
        with pytest.raises(NotFound):
            services.pin_message(user=cast.stranger, message_id=message.pk, on=on)


def test_pins_of_a_room_are_bounded_and_a_deletion_frees_a_place(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "MAX_PINS", 2)
    first, second, third = (say(cast, text) for text in ("first", "second", "third"))
    for message in (first, second):
        services.pin_message(user=cast.member, message_id=message.pk, on=True)

    with pytest.raises(Conflict):
        services.pin_message(user=cast.member, message_id=third.pk, on=True)
    services.delete_message(user=cast.member, message_id=first.pk)
    services.pin_message(user=cast.member, message_id=third.pk, on=True)

    pinned = cast.room.messages.filter(pinned_at__isnull=False)
    assert set(pinned.values_list("text", flat=True)) == {"second", "third"}


def test_deleted_message_cannot_be_pinned(cast: Cast) -> None:
    message = say(cast)
    services.delete_message(user=cast.member, message_id=message.pk)

    with pytest.raises(Conflict):
        services.pin_message(user=cast.member, message_id=message.pk, on=True)
