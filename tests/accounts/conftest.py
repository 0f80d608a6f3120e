"""The users of the tests, created by the services of the product."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from pytest_django import Settings

from accounts.models import Team, TeamRole, User
from accounts.services import create_team, create_user, suspend_user
from accounts.services.teams import add_team_member

PASSWORD = "ondol-warms-the-floor"

Response = Any  # of a test client: only the stubs declare the type that has `json`


@dataclass(frozen=True)
class Cast:
    """A team with one user of each role. The stranger owns another team; `nobody` is in no team."""

    team: Team
    other_team: Team
    owner: User
    admin: User
    member: User
    guest: User
    suspended: User
    stranger: User
    nobody: User

    def named(self, name: str) -> User:
        user: User = getattr(self, name)
        return user


def make_user(name: str, *, email: str = "", verified: bool = True) -> User:
    return create_user(
        name=name,
        email=email or f"{name.lower()}@example.com",
        password=PASSWORD,
        verified=verified,
    )


def without_csrf(page: Response) -> str:
    """Return the page without its CSRF tokens, which differ in every response."""
    text: str = page.content.decode()
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", text)


class CountingHasher(MD5PasswordHasher):
    """Counts password hashes, which dominate the time of a sign-in."""

    count = 0

    def encode(self, password: str, salt: str) -> str:
        CountingHasher.count += 1
        return super().encode(password, salt)


@pytest.fixture
def hasher(settings: Settings) -> type[CountingHasher]:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    CountingHasher.count = 0
    return CountingHasher


@pytest.fixture
def cast(db: None) -> Cast:
    owner = make_user("Owner")
    team = create_team(user=owner, name="Hangyeol Commerce")
    people = {}
    for role in (TeamRole.ADMIN, TeamRole.MEMBER, TeamRole.GUEST):
        people[role] = make_user(role.name.title())
        add_team_member(team, people[role], role)
    suspended = make_user("Suspended")
    add_team_member(team, suspended, TeamRole.ADMIN)
    suspend_user(person=suspended)
    stranger = make_user("Stranger")
    return Cast(
        team=team,
        other_team=create_team(user=stranger, name="Other team"),
        owner=owner,
        admin=people[TeamRole.ADMIN],
        member=people[TeamRole.MEMBER],
        guest=people[TeamRole.GUEST],
        suspended=suspended,
        stranger=stranger,
        nobody=make_user("Nobody"),
    )
