"""Votes on answers: counts in events, the own vote and the note in other places."""

import json

import pytest
from django.db import connection
from django.test import Client

from accounts.errors import Conflict, Forbidden, NotFound
from accounts.services import create_token
from agents.services import Grant, delete_persona, put_grants
from rooms import services
from rooms.event_log import events_after
from rooms.models import Message
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import answer, browser, say

pytestmark = pytest.mark.django_db


@pytest.fixture
def answered(cast: Cast) -> Message:
    message = answer(cast, "the answer").answer
    assert message is not None
    return message


def program(user: object) -> Client:
    _token, secret = create_token(user=user, name="script")  # type: ignore[arg-type]  # a User
    return Client(headers={"authorization": f"Bearer {secret}"})


def test_events_have_the_counts_and_no_vote_of_a_user(cast: Cast, answered: Message) -> None:
    seq = cast.refreshed().last_seq

    services.vote(user=cast.member, message_id=answered.pk, value=-1, note="wrong CANARY")
    services.vote(user=cast.owner, message_id=answered.pk, value=1)
    services.vote(user=cast.owner, message_id=answered.pk, value=1, note="another word")

    frames = [entry.frame.decode() for entry in events_after(cast.room.pk, seq)]
    assert [json.loads(frame)["message"]["votes"] for frame in frames] == [
        {"up": 0, "down": 1},
        {"up": 1, "down": 1},
    ]
    assert "CANARY" not in "".join(frames)


def test_own_vote_is_in_the_responses_to_its_user(cast: Cast, answered: Message) -> None:
    mine, theirs = program(cast.member), program(cast.owner)
    path = f"/api/v1/messages/{answered.pk}"

    voted = mine.put(f"{path}/vote", {"value": -1, "note": "wrong"}, "application/json")

    assert voted.json() == {"up": 0, "down": 1, "mine": -1}
    assert mine.get(path).json()["votes"] == {"up": 0, "down": 1, "mine": -1}
    assert theirs.get(path).json()["votes"] == {"up": 0, "down": 1, "mine": 0}
    room = f"/api/v1/rooms/{cast.room.pk}"
    assert mine.get(f"{room}/messages").json()["items"][0]["votes"]["mine"] == -1
    (own,) = mine.get(f"{room}/votes").json()["items"]
    assert (own["message"], own["value"]) == (str(answered.pk), -1)
    assert theirs.get(f"{room}/votes").json()["items"] == []


def test_vote_is_taken_back_and_counts_no_more(cast: Cast, answered: Message) -> None:
    for value in (1, -1, 0, 0):
        message = services.vote(user=cast.member, message_id=answered.pk, value=value)

    assert (message.votes_up, message.votes_down) == (0, 0)


def test_vote_outlives_its_account(cast: Cast, answered: Message) -> None:
    services.vote(user=cast.member, message_id=answered.pk, value=1)
    answered.votes.update(user=None)

    message = services.vote(user=cast.owner, message_id=answered.pk, value=1)

    assert message.votes_up == 2


def test_answer_of_a_deleted_persona_keeps_its_votes_and_gets_more(
    cast: Cast, answered: Message
) -> None:
    services.vote(user=cast.member, message_id=answered.pk, value=1)
    delete_persona(user=cast.owner, persona_id=cast.persona.pk)

    message = services.vote(user=cast.owner, message_id=answered.pk, value=1)

    assert (message.votes_up, message.votes.count()) == (2, 2)
    connection.check_constraints()


def test_notes_are_read_by_people_who_may_edit_the_persona(cast: Cast, answered: Message) -> None:
    services.vote(user=cast.member, message_id=answered.pk, value=-1, note="wrong")
    path = f"/api/v1/personas/{cast.persona.pk}/votes"

    (opinion,) = browser(cast.owner).get(path).json()["items"]
    refused = browser(cast.member).get(path)
    put_grants(
        user=cast.owner,
        persona_id=cast.persona.pk,
        grants=[Grant(user=cast.member.pk, rights=frozenset({"edit"}))],
    )
    allowed = browser(cast.member).get(path)

    assert (opinion["value"], opinion["note"], opinion["version"]) == (-1, "wrong", 1)
    page = browser(cast.owner).get(f"/teams/{cast.team.pk}/personas/{cast.persona.pk}/votes/")
    assert "wrong" in page.content.decode()
    assert opinion.keys() == {"id", "value", "note", "version", "created_at"}
    assert (refused.status_code, allowed.status_code) == (403, 200)


def test_votes_need_the_right_and_a_complete_answer(cast: Cast, answered: Message) -> None:
    with pytest.raises(Forbidden):
        services.vote(user=cast.reader, message_id=answered.pk, value=1)
    with pytest.raises(NotFound):
        services.vote(user=cast.stranger, message_id=answered.pk, value=1)
    with pytest.raises(Conflict):
        services.vote(user=cast.member, message_id=say(cast, cast.owner, "words").pk, value=1)
    Message.objects.filter(pk=answered.pk).update(status="streaming")
    with pytest.raises(Conflict):
        services.vote(user=cast.member, message_id=answered.pk, value=1)
