"""Access that is revoked while sockets are open, also when the message about it is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
from allauth.mfa.models import Authenticator
from pytest_django import Settings

from accounts import services as accounts
from accounts.models import TeamRole, User
from accounts.services.teams import add_team_member
from rooms import services
from rooms.fanout import publisher
from rooms.fanout.credentials import Credential
from rooms.models import Room
from rooms.protocol.commands import AnyCommand
from rooms.runs.deltas import Deltas
from tests.accounts.login.totp import enable_totp
from tests.deadlines import REVOCATION, scaled
from tests.rooms.conftest import Cast, make_user
from tests.rooms.fanout.harness import Harness, Json, SocketClient, lease_is_valid, run_harness

pytestmark = pytest.mark.django_db(transaction=True)

REMOVALS = 60


@pytest.fixture
async def harness(cast: Cast, settings: Settings) -> AsyncIterator[Harness]:
    settings.RATE_LIMITS = False
    async with run_harness() as opened:
        yield opened


async def join_room(harness: Harness, cast: Cast, *users: User) -> list[SocketClient]:
    clients = [harness.connect(user) for user in users]
    for client in clients:
        assert (await client.join(cast.room.pk))["type"] == "room.snapshot"
    return clients


def of_room(client: SocketClient, since: int = 0) -> list[str]:
    return [frame["type"] for frame in client.received[since:] if "room" in frame]


def by_removal(cast: Cast) -> None:
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)


def by_leaving_the_team(cast: Cast) -> None:
    accounts.remove_team_member(user=cast.member, team_id=cast.team.pk, member_id=cast.member.pk)


def by_suspension(cast: Cast) -> None:
    accounts.suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)


def by_becoming_a_guest(cast: Cast) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, privacy="team")
    accounts.set_team_role(
        user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk, role=TeamRole.GUEST
    )


def by_deletion_of_the_room(cast: Cast) -> None:
    services.delete_room(user=cast.owner, room_id=cast.room.pk)


def by_deletion_of_the_team(cast: Cast) -> None:
    accounts.delete_team(user=cast.owner, team_id=cast.team.pk, name="Team")


REVOCATIONS = [
    by_removal,
    by_leaving_the_team,
    by_suspension,
    by_becoming_a_guest,
    by_deletion_of_the_room,
    by_deletion_of_the_team,
]


@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_removed_member_receives_room_removed_and_nothing_after_it(
    harness: Harness, cast: Cast, revoke: Callable[[Cast], None]
) -> None:
    first, second, other = await join_room(harness, cast, cast.member, cast.member, cast.reader)
    await harness.do(revoke, cast)
    await harness.settled(first, second, other)

    for client in (first, second):
        assert of_room(client)[-1] == "room.removed"
        assert not client.joined(cast.room.pk)
        assert (await client.join(cast.room.pk))["code"] == "not_found"
        assert (await client.say(cast.room.pk, "hello"))["code"] == "not_found"
    deleted = revoke in (by_deletion_of_the_room, by_deletion_of_the_team)
    assert other.joined(cast.room.pk) is not deleted


@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_lost_removal_is_found_in_the_log(
    harness: Harness, cast: Cast, revoke: Callable[[Cast], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer delivers nothing."""
    (client,) = await join_room(harness, cast, cast.member)
    with monkeypatch.context() as broken:
        broken.setattr(publisher.publisher, "publish", lambda _envelope: None)
        await harness.do(revoke, cast)

    async with asyncio.timeout(REVOCATION):
        await client.until(lambda: not client.joined(cast.room.pk))
    assert of_room(client)[-1] == "room.removed"


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


async def test_no_frame_follows_a_removal_during_an_answer(harness: Harness, cast: Cast) -> None:
    """A removed member receives nothing that is published after the removal."""
    (other,) = await join_room(harness, cast, cast.owner)
    leaked = 0
    for number in range(REMOVALS):
        (removed,) = await join_room(harness, cast, cast.member)
        await other.say(cast.room.pk, "go on", personas=[str(cast.persona.pk)])
        job = await harness.take()
        assert job is not None
        deltas = Deltas(job, lease_is_valid)
        streaming = asyncio.create_task(write(deltas, *(f"{number}:{n} " for n in range(8))))
        await harness.do(by_removal, cast)
        await streaming
        await write(deltas, f"SECRET-{number}")
        await harness.settled(removed, other)
        received = [frame["type"] for frame in removed.received]
        leaked += len(received) - received.index("room.removed") - 1
        leaked += any(f"SECRET-{number}" in frame.get("text", "") for frame in removed.received)
        assert any(f"SECRET-{number}" in frame.get("text", "") for frame in other.received)
        await removed.disconnect()
        await harness.do(set_role, cast, "member")

    assert leaked == 0


def set_role(cast: Cast, role: str) -> None:
    services.put_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk, role=role)


async def write(deltas: Deltas, *texts: str) -> None:
    """Stream each text as one delta."""
    for text in texts:
        await deltas.add(text)
        await deltas.flush()


async def test_no_frame_follows_a_removal_that_commits_during_a_join(
    harness: Harness, cast: Cast
) -> None:
    """In either order of commits, no frame follows the removal."""
    outcomes = set()
    for turn in range(20):
        client = harness.connect(cast.member)
        for _ in range(turn % 5):
            await asyncio.sleep(0)
        answer, _ = await asyncio.gather(client.join(cast.room.pk), harness.do(by_removal, cast))
        await harness.settled(client)
        mark = len(client.received)
        await harness.do(
            services.post_message, user=cast.owner, room_id=cast.room.pk, text="secret"
        )
        await harness.settled(client)

        assert client.received[mark:] == []
        assert not client.joined(cast.room.pk)
        outcomes.add(answer["type"])
        await client.disconnect()
        await harness.do(set_role, cast, "member")
    assert outcomes


async def test_changed_role_applies_to_the_next_command(harness: Harness, cast: Cast) -> None:
    """A socket caches no permission."""
    (client,) = await join_room(harness, cast, cast.member)
    for role, code in (("reader", "forbidden"), ("member", None)) * 3:
        await harness.do(set_role, cast, role)
        answer = await client.say(cast.room.pk, "hello")
        assert answer.get("code") == code
    assert client.joined(cast.room.pk)


async def test_archived_room_is_announced_and_refuses_messages(
    harness: Harness, cast: Cast
) -> None:
    (client,) = await join_room(harness, cast, cast.member)

    await harness.do(services.archive_room, user=cast.owner, room_id=cast.room.pk)
    await harness.settled(client)

    assert of_room(client)[-1] == "room.archived"
    assert (await client.say(cast.room.pk, "hello"))["code"] == "forbidden"
    assert (await client.join(cast.room.pk))["state"]["permissions"] == ["view"]


# Every command, sent by users who are not members of the room.

FIELDS: dict[str, object] = {
    "after": 0,
    "live": None,
    "text": "let me in",
    "seq": 1,
    "emoji": "👍",
    "on": True,
    "reply_to": None,
    "personas": None,
}
WITHOUT_IDS = {"ping"}


def commands() -> dict[str, tuple[str, ...]]:
    """Return all commands and their fields."""
    return {str(kind.__struct_config__.tag): kind.__struct_fields__ for kind in AnyCommand.__args__}


def outsiders(cast: Cast) -> list[User]:
    """Return users of all kinds who are not members of the room."""
    created = []
    for name, role in (("TeamAdmin", "admin"), ("TeamMember", "member"), ("Guest", "guest")):
        add_team_member(cast.team, user := make_user(name), role)
        created.append(user)
    staff = make_user("Staff")
    staff.is_staff = staff.is_superuser = True
    staff.save()
    former = cast.moderator
    accounts.remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=former.pk)
    by_suspension(cast)
    accounts.suspend_user(person=cast.reader)
    invited = cast.nobody
    accounts.invite(user=cast.owner, team_id=cast.team.pk, email=invited.email)
    return [*created, staff, former, invited, cast.member, cast.reader, cast.stranger]


async def test_every_command_answers_outsiders_as_for_unknown_ids(
    harness: Harness, cast: Cast
) -> None:
    """The same applies to a foreign id in a command of the user's own room."""
    posted = await harness.do(
        services.post_message, user=cast.owner, room_id=cast.room.pk, text="CANARY"
    )
    users = await harness.do(outsiders, cast)
    existing = {"room": cast.room.pk, "message": posted.message.pk, "run": posted.runs[0]}
    for user in users:
        client = harness.connect(user)
        for kind, fields in commands().items():
            if kind in WITHOUT_IDS:
                continue
            responses = [
                await response_frames(client, kind, fields, ids) for ids in (existing, absent())
            ]
            assert responses[0] == responses[1], (user, kind)
            assert [frame["code"] for frame in responses[0]] == ["not_found"], kind
        assert (await client.command("ping"))["type"] == "command.done"  # the socket is still open
        assert "CANARY" not in str(client.received)


async def test_foreign_id_in_a_command_of_the_own_room_is_not_found(
    harness: Harness, cast: Cast
) -> None:
    posted = await harness.do(
        services.post_message, user=cast.owner, room_id=cast.room.pk, text="CANARY"
    )
    own = await harness.do(own_room, cast.stranger)
    client = harness.connect(cast.stranger)
    for foreign in ({"reply_to": str(posted.message.pk)}, {"personas": [str(cast.persona.pk)]}):
        unknown = {
            field: [str(uuid4())] if isinstance(value, list) else str(uuid4())
            for field, value in foreign.items()
        }
        answers = [await client.say(own, "hello", **fields) for fields in (foreign, unknown)]
        assert [answer["code"] for answer in answers] == ["not_found"] * 2
        assert answers[0]["detail"] == answers[1]["detail"]


def own_room(user: User) -> UUID:
    return services.create_room(user=user, team_id=user.memberships.get().team_id, name="own").pk


def absent() -> dict[str, UUID]:
    return {kind: uuid4() for kind in ("room", "message", "run")}


async def response_frames(
    client: SocketClient, kind: str, fields: tuple[str, ...], ids: dict[str, UUID]
) -> list[dict[str, object]]:
    """Send a command; return the frames that follow, without their `ref`."""
    mark = len(client.received)
    frame: dict[str, object] = {"type": kind}
    for field in fields:
        if field == "ref":
            frame[field] = "1"
        elif field == "client_id":
            frame[field] = str(uuid4())
        elif field in ids:
            frame[field] = str(ids[field])
        else:
            frame[field] = FIELDS[field]  # KeyError for a field that FIELDS lacks
    await client.send_frame(frame)
    return [
        {key: value for key, value in each.items() if key != "ref"}
        for each in client.received[mark:]
    ]


async def test_command_after_the_end_of_its_credential_is_not_executed(
    harness: Harness, cast: Cast
) -> None:
    (client,) = await join_room(harness, cast, cast.member)
    client.connection.close(4401)

    fields = {"room": str(cast.room.pk), "text": "Am I still here?", "client_id": str(uuid4())}
    rest: Json = {"reply_to": None, "personas": []}
    await client.send_frame({"type": "message.send", "ref": "late", **fields, **rest})

    assert not [frame for frame in client.received if frame.get("ref") == "late"]
    assert await harness.do(cast.room.messages.count) == 0
