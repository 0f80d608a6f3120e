"""The users of a room, created by the services of the product."""

from dataclasses import dataclass

import pytest

from accounts.models import Team, TeamHandle, TeamMember, TeamRole, User
from accounts.services import create_team, create_user
from accounts.services.teams import add_team_member
from agents.models import Persona
from agents.services import create_demo_persona
from rooms.models import Room, RoomRole
from rooms.services import add_members, create_room


@dataclass(frozen=True)
class Cast:
    """A room with its members; `stranger` owns another team, and `nobody` is in no team."""

    team: Team
    room: Room
    persona: Persona
    owner: User
    moderator: User
    member: User
    reader: User
    stranger: User
    nobody: User

    def refreshed(self) -> Room:
        self.room.refresh_from_db()
        return self.room


def make_user(name: str) -> User:
    return create_user(name=name, email=f"{name.lower()}@example.com", verified=True)


def add_people(cast: Cast, count: int) -> None:
    """Add members to the team and the room: `Person 0` with the handle `p0`, and so on."""
    people = User.objects.bulk_create(
        User(name=f"Person {n}", email=f"p{n}@example.com", handle=f"p{n}") for n in range(count)
    )
    TeamMember.objects.bulk_create(TeamMember(team=cast.team, user=user) for user in people)
    TeamHandle.objects.bulk_create(
        TeamHandle(team=cast.team, handle=user.handle, holder=user.pk) for user in people
    )
    add_members(cast.refreshed(), people, RoomRole.MEMBER)


@pytest.fixture
def cast(db: None) -> Cast:
    owner, moderator, member, reader, stranger, nobody = (
        make_user(name) for name in ("Owner", "Moderator", "Member", "Reader", "Stranger", "Nobody")
    )
    team = create_team(user=owner, name="Team")
    for user in (moderator, member, reader):
        add_team_member(team, user, TeamRole.MEMBER)
    create_team(user=stranger, name="Other team")
    persona = create_demo_persona(user=owner, team_id=team.pk)
    room = create_room(user=owner, team_id=team.pk, name="room", personas=[persona.pk])
    for user, role in (
        (moderator, RoomRole.MODERATOR),
        (member, RoomRole.MEMBER),
        (reader, RoomRole.READER),
    ):
        add_members(room, [user], role)
    return Cast(team, room, persona, owner, moderator, member, reader, stranger, nobody)
