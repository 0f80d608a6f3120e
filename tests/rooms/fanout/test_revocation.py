"""Access that is revoked while sockets are open, also when the message about it is lost."""

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from accounts import services as accounts
from accounts.models import TeamRole, User
from accounts.services.teams import add_team_member
from rooms import services
from rooms.fanout import publisher
from rooms.fanout.credentials import Credential
from rooms.models import Round
from rooms.protocol.commands import AnyCommand
from rooms.runs.deltas import Deltas
from tests.deadlines import REVOCATION
from tests.rooms.acting import ARGUMENTS_SHA256, ask_about_call
from tests.rooms.asking import make_question
from tests.rooms.conftest import Cast, make_user
from tests.rooms.fanout.harness import Harness, Json, SocketClient, join_room, lease_is_valid

pytestmark = pytest.mark.django_db(transaction=True)

REMOVALS = 60


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
    "mentions_first": True,
    "in_turn": False,
    "led_by": None,
    "also_in_room": False,
    "threads": [],
    "choice": None,
    "decision": "allow",
    "extent": "call",
    "note": "",
    "arguments_sha256": ARGUMENTS_SHA256,
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


async def nothing_revoked(_joined: object) -> set[Credential]:
    return set()


async def test_every_command_answers_outsiders_as_for_unknown_ids(
    harness: Harness, cast: Cast
) -> None:
    """The same applies to a foreign id in a command of the user's own room.

    The command of a deactivated user refuses by itself: on a slow machine, the check of credentials
    would close the socket during the test, and the command would have no response.
    """
    harness.hub._source = structs.replace(harness.hub._source, revoked=nothing_revoked)
    posted = await harness.do(
        services.post_message, user=cast.owner, room_id=cast.room.pk, text="CANARY"
    )
    users = await harness.do(outsiders, cast)
    await harness.settled()  # the revocation of that user arrives before the socket is opened
    begun = await harness.do(
        Round.objects.create, room=cast.room, message=posted.message, requested_by=cast.owner
    )
    call = await harness.do(ask_about_call, cast.persona, posted.runs[0])
    existing = {
        "room": cast.room.pk,
        "message": posted.message.pk,
        "run": posted.runs[0],
        "round": begun.pk,
        "approval": call,
    }
    existing["question"] = (await harness.do(make_question, posted.runs[0])).pk
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
    return {kind: uuid4() for kind in ("room", "message", "run", "round", "question", "approval")}


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
            frame["for" if field == "extent" else field] = FIELDS[
                field
            ]  # KeyError for a field that FIELDS lacks
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
