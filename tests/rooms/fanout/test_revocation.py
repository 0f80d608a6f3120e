"""Rights that end while sockets are open: what follows at once, and what follows at the latest."""

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
from rooms.models import Room
from rooms.protocol.commands import AnyCommand
from rooms.runs.deltas import Deltas
from tests.accounts.login.totp import enable_totp
from tests.rooms.conftest import Cast, make_user
from tests.rooms.fanout.hall import Hall, Heard, Seat, open_hall, yes

pytestmark = pytest.mark.django_db(transaction=True)

KICKS = 60
LATEST = 5.0  # a promise of the contract, not a wish


@pytest.fixture
async def hall(cast: Cast, settings: Settings) -> AsyncIterator[Hall]:
    settings.RATE_LIMITS = False
    async with open_hall() as opened:
        yield opened


async def present(hall: Hall, cast: Cast, *users: User) -> list[Seat]:
    seats = [hall.seat(user) for user in users]
    for seat in seats:
        assert (await seat.join(cast.room.pk))["type"] == "room.snapshot"
    return seats


def of_room(seat: Seat, since: int = 0) -> list[str]:
    return [frame["type"] for frame in seat.heard[since:] if "room" in frame]


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


WAYS_OUT = [
    by_removal,
    by_leaving_the_team,
    by_suspension,
    by_becoming_a_guest,
    by_deletion_of_the_room,
    by_deletion_of_the_team,
]


@pytest.mark.parametrize("end", WAYS_OUT)
async def test_whoever_is_out_hears_it_at_once_and_nothing_more(
    hall: Hall, cast: Cast, end: Callable[[Cast], None]
) -> None:
    first, second, other = await present(hall, cast, cast.member, cast.member, cast.reader)
    await hall.do(end, cast)
    await hall.settled(first, second, other)

    for seat in (first, second):
        assert of_room(seat)[-1] == "room.removed"
        assert not seat.joined(cast.room.pk)
        assert (await seat.join(cast.room.pk))["code"] == "not_found"
        assert (await seat.say(cast.room.pk, "hello"))["code"] == "not_found"
    gone_for_all = end in (by_deletion_of_the_room, by_deletion_of_the_team)
    assert other.joined(cast.room.pk) is not gone_for_all


@pytest.mark.parametrize("end", WAYS_OUT)
async def test_lost_notice_is_made_good_by_the_log(
    hall: Hall, cast: Cast, end: Callable[[Cast], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TEN-05: nothing at all comes over the layer."""
    (seat,) = await present(hall, cast, cast.member)
    with monkeypatch.context() as broken:
        broken.setattr(publisher.publisher, "publish", lambda _envelope: None)
        await hall.do(end, cast)

    async with asyncio.timeout(LATEST):
        await seat.until(lambda: not seat.joined(cast.room.pk))
    assert of_room(seat)[-1] == "room.removed"


def by_suspension_of_the_account(user: User) -> None:
    accounts.suspend_user(person=user)


def by_another_password(user: User) -> None:
    accounts.change_password(user=user, password="another-password-of-mine")


@pytest.mark.parametrize("end", [by_suspension_of_the_account, by_another_password])
async def test_ended_credential_closes_the_socket(
    hall: Hall, cast: Cast, end: Callable[[User], None]
) -> None:
    (seat,) = await present(hall, cast, cast.member)

    await hall.do(end, cast.member)
    await hall.settled(seat)
    await asyncio.sleep(0)

    assert seat.closed == 4401


async def test_lost_end_of_a_credential_is_found_by_the_sweep(
    hall: Hall, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    (seat,) = await present(hall, cast, cast.member)
    with monkeypatch.context() as broken:
        broken.setattr(publisher.publisher, "publish", lambda _envelope: None)
        await hall.do(by_suspension_of_the_account, cast.member)

    async with asyncio.timeout(LATEST + 1):  # a second for the machine that runs this
        await seat.until(lambda: seat.closed is not None)
    assert seat.closed == 4401


def by_being_asked_for_a_second_step(cast: Cast) -> None:
    Authenticator.objects.filter(user=cast.member).delete()
    accounts.require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)


def by_having_none_any_more(cast: Cast) -> None:
    accounts.require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    Authenticator.objects.filter(user=cast.member).delete()


@pytest.mark.parametrize("end", [by_being_asked_for_a_second_step, by_having_none_any_more])
async def test_lost_word_of_a_missing_second_step_is_found_by_the_sweep(
    hall: Hall, cast: Cast, end: Callable[[Cast], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shuts out nobody who has one, nor from the rooms of other teams."""
    for user in (cast.owner, cast.member):
        await hall.do(enable_totp, user)
    home = await hall.do(a_room_of_their_own, cast)
    owner, member = await present(hall, cast, cast.owner, cast.member)
    elsewhere = hall.seat(cast.stranger)
    assert (await elsewhere.join(home.pk))["type"] == "room.snapshot"
    with monkeypatch.context() as broken:
        broken.setattr(publisher.publisher, "publish", lambda _envelope: None)
        await hall.do(end, cast)

    async with asyncio.timeout(LATEST + 1):  # a second for the machine that runs this
        await member.until(lambda: member.closed is not None)
    assert (member.closed, owner.closed, elsewhere.closed) == (4401, None, None)


def a_room_of_their_own(cast: Cast) -> Room:
    """Take the stranger into the team, and make a room in the team that they had before."""
    own = cast.stranger.memberships.get().team
    add_team_member(cast.team, cast.stranger, TeamRole.MEMBER)
    return services.create_room(user=cast.stranger, team_id=own.pk, name="home")


async def test_nothing_comes_through_after_many_kicks_in_mid_answer(hall: Hall, cast: Cast) -> None:
    """TEN-04: whatever is written after the removal has committed is not for who was removed."""
    (witness,) = await present(hall, cast, cast.owner)
    late = 0
    for kick in range(KICKS):
        (victim,) = await present(hall, cast, cast.member)
        await witness.say(cast.room.pk, "go on", personas=[str(cast.persona.pk)])
        job = await hall.take()
        assert job is not None
        deltas = Deltas(job, yes)
        streaming = asyncio.create_task(write(deltas, *(f"{kick}:{n} " for n in range(8))))
        await hall.do(by_removal, cast)
        await streaming
        await write(deltas, f"SECRET-{kick}")
        await hall.settled(victim, witness)
        heard = [frame["type"] for frame in victim.heard]
        late += len(heard) - heard.index("room.removed") - 1
        late += any(f"SECRET-{kick}" in frame.get("text", "") for frame in victim.heard)
        assert any(f"SECRET-{kick}" in frame.get("text", "") for frame in witness.heard)
        await victim.leave()
        await hall.do(
            services.put_member,
            user=cast.owner,
            room_id=cast.room.pk,
            member_id=cast.member.pk,
            role="member",
        )

    assert late == 0


async def write(deltas: Deltas, *texts: str) -> None:
    """Stream texts of an answer, each as a delta of its own."""
    for text in texts:
        await deltas.add(text)
        await deltas.flush()


async def test_join_in_flight_while_the_kick_commits_lets_nothing_through(
    hall: Hall, cast: Cast
) -> None:
    """WS-12: whichever of the two is first, no frame follows the removal."""
    outcomes = set()
    for turn in range(20):
        seat = hall.seat(cast.member)
        for _ in range(turn % 5):
            await asyncio.sleep(0)
        answer, _ = await asyncio.gather(seat.join(cast.room.pk), hall.do(by_removal, cast))
        await hall.settled(seat)
        mark = len(seat.heard)
        await hall.do(services.post_message, user=cast.owner, room_id=cast.room.pk, text="secret")
        await hall.settled(seat)

        assert seat.heard[mark:] == []
        assert not seat.joined(cast.room.pk)
        outcomes.add(answer["type"])
        await seat.leave()
        await hall.do(
            services.put_member,
            user=cast.owner,
            room_id=cast.room.pk,
            member_id=cast.member.pk,
            role="member",
        )
    assert outcomes


async def test_role_counts_on_the_next_command(hall: Hall, cast: Cast) -> None:
    """TEN-06: nothing about a right is kept for the life of a socket."""
    (seat,) = await present(hall, cast, cast.member)
    for role, code in (("reader", "forbidden"), ("member", None)) * 3:
        await hall.do(
            services.put_member,
            user=cast.owner,
            room_id=cast.room.pk,
            member_id=cast.member.pk,
            role=role,
        )
        answer = await seat.say(cast.room.pk, "hello")
        assert answer.get("code") == code
    assert seat.joined(cast.room.pk)


async def test_archived_room_is_heard_of_and_refuses(hall: Hall, cast: Cast) -> None:
    (seat,) = await present(hall, cast, cast.member)

    await hall.do(services.archive_room, user=cast.owner, room_id=cast.room.pk)
    await hall.settled(seat)

    assert of_room(seat)[-1] == "room.archived"
    assert (await seat.say(cast.room.pk, "hello"))["code"] == "forbidden"
    assert (await seat.join(cast.room.pk))["state"]["permissions"] == ["view"]


# Every command, as everybody who is not in the room.

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
NAMES_NOTHING = {"ping"}


def commands() -> dict[str, tuple[str, ...]]:
    """Every command of the dispatcher, with its fields."""
    return {str(kind.__struct_config__.tag): kind.__struct_fields__ for kind in AnyCommand.__args__}


def outsiders(cast: Cast) -> list[User]:
    """Everybody who is not in the room: from elsewhere, from the team, and out of it."""
    made = []
    for name, role in (("TeamAdmin", "admin"), ("TeamMember", "member"), ("Guest", "guest")):
        add_team_member(cast.team, user := make_user(name), role)
        made.append(user)
    staff = make_user("Staff")
    staff.is_staff = staff.is_superuser = True
    staff.save()
    former = cast.moderator
    accounts.remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=former.pk)
    by_suspension(cast)
    accounts.suspend_user(person=cast.reader)
    invited = cast.nobody
    accounts.invite(user=cast.owner, team_id=cast.team.pk, email=invited.email)
    return [*made, staff, former, invited, cast.member, cast.reader, cast.stranger]


async def test_every_command_gives_outsiders_the_answer_of_what_is_not_there(
    hall: Hall, cast: Cast
) -> None:
    """TEN-02, with one's own room around a foreign id, too (TEN-08)."""
    posted = await hall.do(
        services.post_message, user=cast.owner, room_id=cast.room.pk, text="CANARY"
    )
    users = await hall.do(outsiders, cast)
    here = {"room": cast.room.pk, "message": posted.message.pk, "run": posted.runs[0]}
    for user in users:
        seat = hall.seat(user)
        for kind, fields in commands().items():
            if kind in NAMES_NOTHING:
                continue
            told = [await told_of(seat, kind, fields, ids) for ids in (here, absent())]
            assert told[0] == told[1], (user, kind)
            assert [frame["code"] for frame in told[0]] == ["not_found"], kind
        assert (await seat.command("ping"))["type"] == "command.done"  # the socket has survived
        assert "CANARY" not in str(seat.heard)


async def test_foreign_id_in_a_command_of_ones_own_room_is_not_there(
    hall: Hall, cast: Cast
) -> None:
    posted = await hall.do(
        services.post_message, user=cast.owner, room_id=cast.room.pk, text="CANARY"
    )
    own = await hall.do(own_room, cast.stranger)
    seat = hall.seat(cast.stranger)
    for foreign in ({"reply_to": str(posted.message.pk)}, {"personas": [str(cast.persona.pk)]}):
        unknown = {
            field: [str(uuid4())] if isinstance(value, list) else str(uuid4())
            for field, value in foreign.items()
        }
        answers = [await seat.say(own, "hello", **fields) for fields in (foreign, unknown)]
        assert [answer["code"] for answer in answers] == ["not_found"] * 2
        assert answers[0]["detail"] == answers[1]["detail"]


def own_room(user: User) -> UUID:
    return services.create_room(user=user, team_id=user.memberships.get().team_id, name="own").pk


def absent() -> dict[str, UUID]:
    return {kind: uuid4() for kind in ("room", "message", "run")}


async def told_of(
    seat: Seat, kind: str, fields: tuple[str, ...], ids: dict[str, UUID]
) -> list[dict[str, object]]:
    """Send a command; return what came of it, without its mark."""
    mark = len(seat.heard)
    frame: dict[str, object] = {"type": kind}
    for field in fields:
        if field == "ref":
            frame[field] = "1"
        elif field == "client_id":
            frame[field] = str(uuid4())
        elif field in ids:
            frame[field] = str(ids[field])
        else:
            frame[field] = FIELDS[field]  # a field that nobody has listed is a KeyError
    await seat.tell(frame)
    return [
        {key: value for key, value in told.items() if key != "ref"} for told in seat.heard[mark:]
    ]


async def test_command_that_comes_behind_the_end_of_its_credential_is_not_done(
    hall: Hall, cast: Cast
) -> None:
    (seat,) = await present(hall, cast, cast.member)
    seat.outlet.end(4401)

    said = {"room": str(cast.room.pk), "text": "Am I still here?", "client_id": str(uuid4())}
    rest: Heard = {"reply_to": None, "personas": []}
    await seat.tell({"type": "message.send", "ref": "late", **said, **rest})

    assert not [frame for frame in seat.heard if frame.get("ref") == "late"]
    assert await hall.do(cast.room.messages.count) == 0
