"""Pages of a team take the same queries and bytes for 200 and for 2,000 people."""

from dataclasses import dataclass

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Invitation, TeamHandle, TeamMember, TeamRole, User
from accounts.names import search_key
from accounts.services import invite
from agents.models import Persona
from rooms.models import RoomMember, RoomPersona, RoomRole
from tests.security.principals import Tenant, make_tenant

pytestmark = pytest.mark.django_db

MOST_QUERIES = 15
MOST_BYTES = 120 * 1024
SMALL, LARGE = 200, 2_000


@dataclass(frozen=True)
class Cost:
    queries: int
    size: int


def add_people(tenant: Tenant, first: int, last: int) -> None:
    """Add people who are in the team and in the room."""
    people = User.objects.bulk_create(
        User(name=f"Person {n:05}", email=f"p{n}@example.com", handle=f"person-{n:05}")
        for n in range(first, last)
    )
    TeamMember.objects.bulk_create(
        TeamMember(team=tenant.team, user=user, name_key=search_key(user.name)) for user in people
    )
    TeamHandle.objects.bulk_create(
        TeamHandle(team=tenant.team, handle=user.handle, holder=user.pk) for user in people
    )
    RoomMember.objects.bulk_create(RoomMember(room=tenant.room, user=user) for user in people)


def fill(tenant: Tenant) -> None:
    """Add as many personas, invitations and audit entries as a team may have."""
    persona = Persona.objects.get(pk=tenant.id("persona"))
    same = {"team": tenant.team, "connection": persona.connection, "model": "demo", "role": "r"}
    personas = Persona.objects.bulk_create(
        Persona(name=f"Persona {n:03}", handle=f"persona-{n:03}", goal="g", **same)
        for n in range(199)
    )
    TeamHandle.objects.bulk_create(
        TeamHandle(team=tenant.team, handle=each.handle, holder=each.pk) for each in personas
    )
    RoomPersona.objects.bulk_create(
        RoomPersona(room=tenant.room, persona=each) for each in personas[:99]
    )
    invitation, _token = invite(user=tenant.owner, team_id=tenant.team.pk)
    Invitation.objects.bulk_create(
        Invitation(
            team=tenant.team,
            digest=f"{n:064}",
            invited_by=tenant.owner,
            expires_at=invitation.expires_at,
        )
        for n in range(190)
    )


PAGES = {
    "people": "/teams/{team}/people/",
    "people after": "/teams/{team}/people/?after={member}",
    "people found": "/teams/{team}/people/?q=person",
    "person": "/teams/{team}/people/{person}/",
    "found as JSON": "/teams/{team}/people/find/?q=person",
    "general": "/teams/{team}/",
    "audit": "/teams/{team}/audit/",
    "audit found": "/teams/{team}/audit/?actor_q=person&actor={person}",
    "connections": "/teams/{team}/connections/",
    "personas": "/teams/{team}/personas/",
    "grants": "/teams/{team}/personas/{persona}/rights/",
    "grants found": "/teams/{team}/personas/{persona}/rights/?q=person",
    "studio": "/teams/{team}/personas/{persona}/",
    "new room": "/teams/{team}/rooms/new/",
    "room settings": "/rooms/{room}/settings/",
    "room settings found": "/rooms/{room}/settings/?q=person",
    "room settings after": "/rooms/{room}/settings/?after={room_member}",
}


def measure(tenant: Tenant) -> dict[str, Cost]:
    client = Client()
    client.force_login(tenant.owner)
    people = tenant.team.members.filter(role=TeamRole.MEMBER).order_by("name_key", "pk")
    in_room = tenant.room.members.filter(role=RoomRole.MEMBER).order_by("user__name", "pk")
    ids = {
        "team": tenant.team.pk,
        "room": tenant.room.pk,
        "persona": tenant.id("persona"),
        "member": people[60].pk,
        "person": people[60].user_id,
        "room_member": in_room[60].pk,
    }
    client.get(PAGES["people"].format(**ids))  # reads what one process reads once
    costs = {}
    for name, path in PAGES.items():
        with CaptureQueriesContext(connection) as queries:
            response = client.get(path.format(**ids))
        assert response.status_code == 200, (name, response.status_code)
        costs[name] = Cost(len(queries), len(response.content))
    return costs


def test_pages_of_a_team_do_not_grow_with_its_people() -> None:
    tenant = make_tenant("Here")
    fill(tenant)
    add_people(tenant, 0, SMALL)
    small = measure(tenant)
    add_people(tenant, SMALL, LARGE)

    large = measure(tenant)

    for name, cost in large.items():
        print(f"{name:20} {cost.queries:3} queries {cost.size / 1024:6.1f} KB")
    for name, cost in large.items():
        assert cost.queries == small[name].queries, name
        assert abs(cost.size - small[name].size) < 500, name
        assert cost.queries <= MOST_QUERIES, name
        assert cost.size <= MOST_BYTES, name
