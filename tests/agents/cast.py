"""The cast of the agents' tests: a team with a connection and a persona, and its users."""

from dataclasses import dataclass

from accounts.errors import Forbidden, NotFound
from accounts.models import Team, TeamRole, User
from accounts.services import create_team, create_user
from accounts.services.teams import add_team_member
from agents.models import Connection, Persona
from agents.services import create_connection, create_persona

KEY = "sk-CANARY-stored"
# A documentation address (RFC 5737): the egress guard checks it, and no test sends a request.
URL = "https://203.0.113.7/v1"
ALLOWED = frozenset({"203.0.113.7:443", "203.0.113.8:443", "203.0.113.7:80"})

REFUSED = [
    ("member", Forbidden),
    ("guest", Forbidden),
    ("stranger", NotFound),
    ("nobody", NotFound),
]
"""The users who may not change connections and personas, with the error that each of them gets."""


@dataclass(frozen=True)
class Cast:
    """`stranger` owns another team, with the connection `foreign`; `nobody` is in no team."""

    team: Team
    connection: Connection
    persona: Persona
    owner: User
    admin: User
    member: User
    guest: User
    stranger: User
    nobody: User
    foreign: Connection


def make_cast() -> Cast:
    owner, admin, member, guest, stranger, nobody = (
        create_user(name=name, email=f"{name.lower()}@example.com", verified=True)
        for name in ("Owner", "Admin", "Member", "Guest", "Stranger", "Nobody")
    )
    team = create_team(user=owner, name="Team")
    for user, role in (
        (admin, TeamRole.ADMIN),
        (member, TeamRole.MEMBER),
        (guest, TeamRole.GUEST),
    ):
        add_team_member(team, user, role)
    other = create_team(user=stranger, name="Other team")
    connection = connect(owner, team)
    persona = create_persona(
        user=owner,
        team_id=team.pk,
        name="Garam",
        role="Research",
        goal="Find evidence.",
        connection=connection.pk,
        model="large",
    )
    return Cast(
        team,
        connection,
        persona,
        owner,
        admin,
        member,
        guest,
        stranger,
        nobody,
        foreign=connect(stranger, other),
    )


def connect(user: User, team: Team, name: str = "Provider") -> Connection:
    return create_connection(
        user=user,
        team_id=team.pk,
        name=name,
        kind="openai",
        base_url=URL,
        key=KEY,
        models=["large", "small"],
    )
