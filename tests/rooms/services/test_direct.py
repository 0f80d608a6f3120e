"""Direct rooms: the same set of users and personas always has the same room."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from accounts import rate_limits
from accounts.errors import Conflict, Forbidden, Invalid, NotFound, RateLimited
from accounts.models import AuditEntry, TeamRole, User
from accounts.services import (
    remove_team_member,
    restore_user,
    suspend_team_member,
    suspend_user,
)
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona, delete_persona
from rooms import queries, services
from rooms.event_log import events_after
from rooms.models import Room
from rooms.permissions import POST, VIEW, access_room, permissions_in
from rooms.services import direct
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


def opened(
    cast: Cast, *others: User, by: User | None = None, personas: tuple[UUID, ...] = ()
) -> Room:
    return services.open_direct_room(
        user=by or cast.owner,
        team_id=cast.team.pk,
        users=[other.pk for other in others],
        personas=personas,
    )


def test_same_set_gets_the_same_room_from_every_member(cast: Cast) -> None:
    room = opened(cast, cast.member)

    assert opened(cast, cast.owner, by=cast.member) == room
    assert opened(cast, cast.member, cast.owner) == room
    assert opened(cast, cast.member, cast.reader) != room
    assert opened(cast, cast.member, personas=(cast.persona.pk,)) != room
    assert opened(cast, cast.reader, cast.member) == opened(cast, cast.member, cast.reader)


def test_room_is_private_and_its_users_are_equal_members(cast: Cast) -> None:
    room = opened(cast, cast.member)

    assert (room.privacy, room.direct, room.name) == ("private", True, "")
    for user in (cast.owner, cast.member):
        assert permissions_in(user, room) == ["post", "view"]
    for user in (cast.reader, cast.stranger):
        with pytest.raises(NotFound):
            access_room(user, room.pk, VIEW)


def test_room_is_named_by_the_others(cast: Cast) -> None:
    room = opened(cast, cast.reader, cast.member, personas=(cast.persona.pk,))

    def name_for(user: User) -> str:
        queries.name_direct_rooms(user, [room])
        return room.name

    assert name_for(cast.owner) == f"Member, Reader, {cast.persona.name}"
    assert name_for(cast.reader) == f"Member, Owner, {cast.persona.name}"


def test_nobody_changes_the_room(cast: Cast) -> None:
    room = opened(cast, cast.member)
    other = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    attempts: list[Callable[[], object]] = [
        lambda: services.update_room(user=cast.owner, room_id=room.pk, name="mine"),
        lambda: services.put_member(
            user=cast.owner, room_id=room.pk, member_id=cast.reader.pk, role="member"
        ),
        lambda: services.put_member(
            user=cast.owner, room_id=room.pk, member_id=cast.owner.pk, role="owner"
        ),
        lambda: services.bind_persona(user=cast.owner, room_id=room.pk, persona_id=other.pk),
        lambda: services.archive_room(user=cast.owner, room_id=room.pk),
        lambda: services.delete_room(user=cast.owner, room_id=room.pk),
        lambda: services.remove_member(user=cast.owner, room_id=room.pk, member_id=cast.member.pk),
        lambda: services.invite_into_rooms(
            user=cast.owner, team_id=cast.team.pk, room_ids=[room.pk]
        ),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()
    with pytest.raises(NotFound):
        services.join_room(user=cast.reader, room_id=room.pk)
    with pytest.raises(Conflict):
        services.remove_member(user=cast.owner, room_id=room.pk, member_id=cast.owner.pk)


def test_persona_answers_alone_with_a_user_and_only_if_mentioned_among_several(cast: Cast) -> None:
    alone = opened(cast, personas=(cast.persona.pk,))
    several = opened(cast, cast.member, personas=(cast.persona.pk,))

    def runs(room: Room, text: str) -> int:
        return len(services.post_message(user=cast.owner, room_id=room.pk, text=text).runs)

    assert runs(alone, "hello") == 1
    assert runs(several, "hello") == 0
    assert runs(several, f"@{cast.persona.handle} hello") == 1


def test_choice_must_be_of_the_team_and_of_a_sensible_size(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid):
        opened(cast)
    with pytest.raises(Invalid):
        opened(cast, cast.owner)
    for users, personas in (
        ([cast.stranger.pk], []),
        ([uuid4()], []),
        ([], [uuid4()]),
    ):
        with pytest.raises(NotFound):
            services.open_direct_room(
                user=cast.owner, team_id=cast.team.pk, users=users, personas=personas
            )
    monkeypatch.setattr(direct, "MAX_OTHERS", 1)
    with pytest.raises(Invalid):
        opened(cast, cast.member, cast.reader)
    assert not Room.objects.filter(direct=True).exists()


def test_guest_starts_no_conversation_and_answers_in_one(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    with pytest.raises(Forbidden):
        opened(cast, cast.owner, by=guest)

    room = opened(cast, guest)

    assert access_room(guest, room.pk, POST)


def test_user_who_returns_to_the_team_gets_a_new_room(cast: Cast) -> None:
    room = opened(cast, cast.member)

    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)
    services.post_message(user=cast.owner, room_id=room.pk, text="while you were gone")
    add_team_member(cast.team, cast.member, TeamRole.MEMBER)

    assert opened(cast, cast.member) != room
    with pytest.raises(NotFound):
        access_room(cast.member, room.pk, VIEW)
    assert access_room(cast.owner, room.pk, POST)


def test_suspended_user_cannot_be_chosen_and_the_room_waits(cast: Cast) -> None:
    room = opened(cast, cast.member)
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    with pytest.raises(NotFound):
        opened(cast, cast.member)
    room.refresh_from_db()
    assert room.direct_key is not None
    assert room.abandoned_at is None


def test_room_without_active_members_is_abandoned_and_revived(cast: Cast) -> None:
    room = opened(cast, cast.reader, by=cast.member)

    for user in (cast.member, cast.reader):
        suspend_user(person=user)
    room.refresh_from_db()
    assert room.abandoned_at is not None

    restore_user(person=cast.member)
    room.refresh_from_db()
    assert Room.objects.filter(pk=room.pk, abandoned_at=None, archived_at=None).exists()
    assert not room.members.exclude(role="member").exists()


def test_confined_persona_returns_with_the_next_call(cast: Cast) -> None:
    room = opened(cast, personas=(cast.persona.pk,))
    services.confine_persona(user=cast.owner, persona_id=cast.persona.pk, room_ids=[cast.room.pk])
    with pytest.raises(NotFound):
        opened(cast, personas=(cast.persona.pk,))
    services.confine_persona(user=cast.owner, persona_id=cast.persona.pk, room_ids=None)

    assert opened(cast, personas=(cast.persona.pk,)) == room

    assert room.bindings.get().persona == cast.persona
    types = [event.type for event in events_after(room.pk, 0)]
    assert types[-2:] == ["persona.unbound", "persona.bound"]
    audited = AuditEntry.objects.filter(action="room.persona_bound", target_id=room.pk)
    assert audited.count() == 1


def test_number_of_new_rooms_of_one_user_is_limited(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.RATE_LIMITS = True
    limit = {(rate_limits.DIRECT, rate_limits.USER): rate_limits.RateLimit(2, 3_600)}
    monkeypatch.setattr(rate_limits, "LIMITS", limit)
    monkeypatch.setattr(direct, "MAX_OPENED", 1)
    room = opened(cast, cast.member)

    with pytest.raises(Conflict):
        opened(cast, cast.reader)
    with pytest.raises(RateLimited):
        opened(cast, cast.reader)
    assert opened(cast, cast.member) == room
    assert opened(cast, cast.reader, by=cast.member)


def test_deleted_persona_leaves_the_words_behind(cast: Cast) -> None:
    room = opened(cast, personas=(cast.persona.pk,))
    delete_persona(user=cast.owner, persona_id=cast.persona.pk)

    queries.name_direct_rooms(cast.owner, [room])

    assert room.name == "Only you"
    assert access_room(cast.owner, room.pk, POST)
