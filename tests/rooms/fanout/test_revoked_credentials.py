"""Credentials that are revoked while sockets are open, also when the message about it is lost."""

import asyncio
from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator

from accounts import services as accounts
from accounts.models import TeamRole, User
from accounts.services.teams import add_team_member
from rooms import services
from rooms.fanout import publisher
from rooms.fanout.credentials import Credential
from rooms.models import Room
from tests.accounts.login.totp import enable_totp
from tests.deadlines import REVOCATION, scaled
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import Harness, join_room

pytestmark = pytest.mark.django_db(transaction=True)


def by_suspension_of_the_account(user: User) -> None:
    accounts.suspend_user(person=user)


def by_changing_the_password(user: User) -> None:
    accounts.change_password(user=user, password="another-password-of-mine")


@pytest.mark.parametrize("revoke", [by_suspension_of_the_account, by_changing_the_password])
async def test_revoked_credential_closes_the_socket(
    harness: Harness, cast: Cast, revoke: Callable[[User], None]
) -> None:
    (client,) = await join_room(harness, cast, cast.member)

    await harness.do(revoke, cast.member)
    await harness.settled(client)
    await asyncio.sleep(0)

    assert client.closed == 4401


async def test_revoked_token_closes_its_own_socket_and_no_other(
    harness: Harness, cast: Cast
) -> None:
    by_token, by_session = await join_room(harness, cast, cast.member, cast.member)
    token, _secret = await harness.do(accounts.create_token, user=cast.member, name="script")
    by_token.connection.credential = Credential(cast.member.pk, token_id=token.pk)

    await harness.do(accounts.revoke_token, user=cast.member, token_id=token.pk)
    await harness.settled(by_session)
    await asyncio.sleep(0)

    assert (by_token.closed, by_session.closed) == (4401, None)


async def test_check_finds_a_lost_revocation_of_a_credential(
    harness: Harness, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    (client,) = await join_room(harness, cast, cast.member)
    with monkeypatch.context() as broken:
        broken.setattr(publisher.publisher, "publish", lambda _envelope: None)
        await harness.do(by_suspension_of_the_account, cast.member)

    async with asyncio.timeout(REVOCATION + scaled(1)):
        await client.until(lambda: client.closed is not None)
    assert client.closed == 4401


def by_requiring_mfa(cast: Cast) -> None:
    Authenticator.objects.filter(user=cast.member).delete()
    accounts.require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)


def by_deleting_the_second_factor(cast: Cast) -> None:
    accounts.require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    Authenticator.objects.filter(user=cast.member).delete()


@pytest.mark.parametrize("revoke", [by_requiring_mfa, by_deleting_the_second_factor])
async def test_check_finds_a_user_without_a_required_second_factor(
    harness: Harness, cast: Cast, revoke: Callable[[Cast], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users with a second factor and connections in rooms of other teams stay open."""
    for user in (cast.owner, cast.member):
        await harness.do(enable_totp, user)
    home = await harness.do(room_of_another_team, cast)
    owner, member = await join_room(harness, cast, cast.owner, cast.member)
    elsewhere = harness.connect(cast.stranger)
    assert (await elsewhere.join(home.pk))["type"] == "room.snapshot"
    with monkeypatch.context() as broken:
        broken.setattr(publisher.publisher, "publish", lambda _envelope: None)
        await harness.do(revoke, cast)

    async with asyncio.timeout(REVOCATION + scaled(1)):
        await member.until(lambda: member.closed is not None)
    assert (member.closed, owner.closed, elsewhere.closed) == (4401, None, None)


def room_of_another_team(cast: Cast) -> Room:
    """Add the stranger to the team, and create a room in the stranger's own team."""
    own = cast.stranger.memberships.get().team
    add_team_member(cast.team, cast.stranger, TeamRole.MEMBER)
    return services.create_room(user=cast.stranger, team_id=own.pk, name="home")
