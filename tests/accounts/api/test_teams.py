"""The REST endpoints of a team: members, invitations, ownership, deletion and two-step sign-in."""

import json
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.test import Client

from accounts.models import Invitation, Team
from accounts.services import accept_invitation, create_token
from agents.services import create_demo_persona
from rooms.models import RoomMember
from rooms.services import create_room
from tests.accounts.conftest import Cast, Response
from tests.accounts.login.totp import enable_totp

pytestmark = pytest.mark.django_db


class Program:
    """A client of one user, with a token of full scope, for paths below the team."""

    def __init__(self, cast: Cast, name: str) -> None:
        _token, secret = create_token(user=cast.named(name), name="script", scopes=["admin"])
        self._client = Client(headers={"Authorization": f"Bearer {secret}"})
        self._team = f"/api/v1/teams/{cast.team.pk}"

    def request(self, method: str, path: str, body: Any = None) -> Response:
        return self._client.generic(
            method, self._team + path, json.dumps(body or {}), "application/json"
        )


def test_member_is_suspended_and_restored(cast: Cast) -> None:
    owner, member = Program(cast, "owner"), Program(cast, "member")
    path = f"/members/{cast.member.pk}"

    suspended = [owner.request("PATCH", path, {"suspended": True}) for _ in range(2)]
    refused = member.request("GET", "")
    listed = owner.request("GET", "/members").json()["items"]
    restored = owner.request("PATCH", path, {"suspended": False, "role": "admin"})

    assert [response.json()["suspended"] for response in suspended] == [True, True]
    assert refused.status_code == 404
    assert [member["user"] for member in listed if member["suspended"]] == [str(cast.member.pk)]
    assert (restored.json()["suspended"], restored.json()["role"]) == (False, "admin")
    assert member.request("GET", "").json()["role"] == "admin"


def test_admin_and_member_cannot_suspend_the_owner(cast: Cast) -> None:
    path = f"/members/{cast.owner.pk}"

    assert Program(cast, "admin").request("PATCH", path, {"suspended": True}).status_code == 403
    assert Program(cast, "member").request("PATCH", path, {"suspended": True}).status_code == 403
    assert Program(cast, "stranger").request("PATCH", path, {"suspended": True}).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_invitation_is_mailed_and_adds_the_user_to_its_rooms(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    room = create_room(user=cast.owner, team_id=cast.team.pk, name="room")
    owner = Program(cast, "owner")
    body = {"role": "guest", "email": cast.nobody.email, "rooms": [str(room.pk)]}

    created = owner.request("POST", "/invitations", body).json()
    accept_invitation(user=cast.nobody, token=created["token"])

    assert [mail.to for mail in mailoutbox] == [[cast.nobody.email]]
    assert created["url"] in mailoutbox[0].body
    assert (created["email"], created["max_uses"], created["rooms"]) == (
        cast.nobody.email,
        1,
        [str(room.pk)],
    )
    assert RoomMember.objects.filter(room=room, user=cast.nobody).exists()


def test_invitation_limits_uses_and_lifetime(cast: Cast) -> None:
    owner = Program(cast, "owner")
    until = "2999-01-01T00:00:00Z"

    created = owner.request("POST", "/invitations", {"max_uses": 3}).json()
    too_long = owner.request("POST", "/invitations", {"expires_at": until})
    too_many = owner.request("POST", "/invitations", {"max_uses": 1_001})

    assert Invitation.objects.get(pk=created["id"]).max_uses == 3
    assert list(too_long.json()["fields"]) == ["expires_at"]
    assert list(too_many.json()["fields"]) == ["max_uses"]


def test_invitation_to_a_room_that_the_user_does_not_manage_is_not_found(cast: Cast) -> None:
    room = create_room(user=cast.member, team_id=cast.team.pk, name="private")

    response = Program(cast, "owner").request("POST", "/invitations", {"rooms": [str(room.pk)]})

    assert response.status_code == 404


def test_team_is_deleted_with_its_name_and_restored(cast: Cast) -> None:
    owner, admin = Program(cast, "owner"), Program(cast, "admin")
    name = {"name": cast.team.name}

    refused = [
        admin.request("POST", "/delete", name),
        owner.request("POST", "/delete", {"name": "x"}),
    ]
    deleted = owner.request("POST", "/delete", name)
    gone = [owner.request("GET", ""), admin.request("POST", "/restore")]
    restored = owner.request("POST", "/restore")

    assert [response.status_code for response in refused] == [403, 400]
    assert deleted.json()["purged_after"] > "2020"
    assert [response.status_code for response in gone] == [404, 404]
    assert restored.json()["role"] == "owner"
    assert owner.request("POST", "/restore").status_code == 404


def test_owner_hands_the_team_over(cast: Cast) -> None:
    owner, member = Program(cast, "owner"), Program(cast, "member")

    handed_over = owner.request("PUT", "/owner", {"user": str(cast.member.pk)})

    assert handed_over.json()["role"] == "admin"
    assert member.request("GET", "").json()["role"] == "owner"
    assert owner.request("PUT", "/owner", {"user": str(cast.owner.pk)}).status_code == 403


def test_team_requires_two_step_sign_in(cast: Cast) -> None:
    owner, admin = Program(cast, "owner"), Program(cast, "admin")
    body = {"name": "Renamed", "require_mfa": True}

    too_early = owner.request("PATCH", "", body)
    unchanged = Team.objects.get(pk=cast.team.pk)
    enable_totp(cast.owner)
    accepted = owner.request("PATCH", "", body)

    assert (too_early.status_code, unchanged.name) == (409, cast.team.name)
    assert (accepted.json()["require_mfa"], accepted.json()["name"]) == (True, "Renamed")
    assert admin.request("GET", "").status_code == 403
    assert owner.request("PATCH", "", {"name": "Again"}).json()["require_mfa"] is True


def test_members_and_personas_are_found_by_the_beginning_of_a_name(cast: Cast) -> None:
    create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    owner = Program(cast, "owner")

    def found(path: str) -> list[str]:
        return [item["name"] for item in owner.request("GET", path).json()["items"]]

    assert found("/members?q=GU") == ["Guest"]
    assert found("/members?q=uest") == []
    assert found("/personas?q=@gar") == found("/personas?q=Gar") == ["Garam"]
    assert found("/personas?q=ram") == found("/connections?q=emo") == []
    assert found("/connections?q=de") == ["Demo"]
    assert Program(cast, "guest").request("GET", "/members?q=mem").json()["items"] == []
    assert owner.request("GET", f"/members?q={'x' * 81}").status_code == 400
