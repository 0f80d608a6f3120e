"""REST for the life of a team: what the pages can do, by the same services."""

import json
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.test import Client

from accounts.models import Invitation, Team
from accounts.services import accept_invitation, create_token
from rooms.models import RoomMember
from rooms.services import create_room
from tests.accounts.conftest import Answer, Cast
from tests.accounts.login.totp import enable_totp

pytestmark = pytest.mark.django_db


class Program:
    """Somebody's script, with a token for everything."""

    def __init__(self, cast: Cast, name: str) -> None:
        _token, secret = create_token(user=cast.named(name), name="script", scopes=["admin"])
        self._client = Client(headers={"Authorization": f"Bearer {secret}"})
        self._team = f"/api/v1/teams/{cast.team.pk}"

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        where = self._team + path
        return self._client.generic(method, where, json.dumps(body or {}), "application/json")


def test_member_is_suspended_and_comes_back(cast: Cast) -> None:
    owner, member = Program(cast, "owner"), Program(cast, "member")
    path = f"/members/{cast.member.pk}"

    out = [owner.ask("PATCH", path, {"suspended": True}) for _twice in range(2)]
    shut = member.ask("GET", "")
    listed = owner.ask("GET", "/members").json()["items"]
    back = owner.ask("PATCH", path, {"suspended": False, "role": "admin"})

    assert [answer.json()["suspended"] for answer in out] == [True, True]
    assert shut.status_code == 404
    assert [one["user"] for one in listed if one["suspended"]] == [str(cast.member.pk)]
    assert (back.json()["suspended"], back.json()["role"]) == (False, "admin")
    assert member.ask("GET", "").json()["role"] == "admin"


def test_nobody_suspends_above_themselves(cast: Cast) -> None:
    path = f"/members/{cast.owner.pk}"

    assert Program(cast, "admin").ask("PATCH", path, {"suspended": True}).status_code == 403
    assert Program(cast, "member").ask("PATCH", path, {"suspended": True}).status_code == 403
    assert Program(cast, "stranger").ask("PATCH", path, {"suspended": True}).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_invitation_is_mailed_and_leads_into_rooms(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    room = create_room(user=cast.owner, team_id=cast.team.pk, name="room")
    owner = Program(cast, "owner")
    wish = {"role": "guest", "email": cast.nobody.email, "rooms": [str(room.pk)]}

    made = owner.ask("POST", "/invitations", wish).json()
    accept_invitation(user=cast.nobody, token=made["token"])

    assert [mail.to for mail in mailoutbox] == [[cast.nobody.email]]
    assert made["url"] in mailoutbox[0].body
    assert (made["email"], made["max_uses"], made["rooms"]) == (
        cast.nobody.email,
        1,
        [str(room.pk)],
    )
    assert RoomMember.objects.filter(room=room, user=cast.nobody).exists()


def test_invitation_is_for_several_and_ends(cast: Cast) -> None:
    owner = Program(cast, "owner")
    until = "2999-01-01T00:00:00Z"

    made = owner.ask("POST", "/invitations", {"max_uses": 3}).json()
    too_long = owner.ask("POST", "/invitations", {"expires_at": until})
    too_many = owner.ask("POST", "/invitations", {"max_uses": 1_001})

    assert Invitation.objects.get(pk=made["id"]).max_uses == 3
    assert list(too_long.json()["fields"]) == ["expires_at"]
    assert list(too_many.json()["fields"]) == ["max_uses"]


def test_room_of_an_invitation_is_one_that_its_maker_manages(cast: Cast) -> None:
    room = create_room(user=cast.member, team_id=cast.team.pk, name="theirs")

    answer = Program(cast, "owner").ask("POST", "/invitations", {"rooms": [str(room.pk)]})

    assert answer.status_code == 404


def test_team_is_deleted_by_its_name_and_brought_back(cast: Cast) -> None:
    owner, admin = Program(cast, "owner"), Program(cast, "admin")
    name = {"name": cast.team.name}

    refused = [admin.ask("POST", "/delete", name), owner.ask("POST", "/delete", {"name": "x"})]
    deleted = owner.ask("POST", "/delete", name)
    gone = [owner.ask("GET", ""), admin.ask("POST", "/restore")]
    restored = owner.ask("POST", "/restore")

    assert [answer.status_code for answer in refused] == [403, 400]
    assert deleted.json()["purged_after"] > "2020"
    assert [answer.status_code for answer in gone] == [404, 404]
    assert restored.json()["role"] == "owner"
    assert owner.ask("POST", "/restore").status_code == 404


def test_team_changes_hands(cast: Cast) -> None:
    owner, member = Program(cast, "owner"), Program(cast, "member")

    given = owner.ask("PUT", "/owner", {"user": str(cast.member.pk)})

    assert given.json()["role"] == "admin"
    assert member.ask("GET", "").json()["role"] == "owner"
    assert owner.ask("PUT", "/owner", {"user": str(cast.owner.pk)}).status_code == 403


def test_team_asks_for_two_steps(cast: Cast) -> None:
    owner, admin = Program(cast, "owner"), Program(cast, "admin")
    ask = {"name": "Renamed", "require_mfa": True}

    too_early = owner.ask("PATCH", "", ask)
    unchanged = Team.objects.get(pk=cast.team.pk)
    enable_totp(cast.owner)
    asked = owner.ask("PATCH", "", ask)

    assert (too_early.status_code, unchanged.name) == (409, cast.team.name)
    assert (asked.json()["require_mfa"], asked.json()["name"]) == (True, "Renamed")
    assert admin.ask("GET", "").status_code == 403
    assert owner.ask("PATCH", "", {"name": "Again"}).json()["require_mfa"] is True
