"""The size of pages and lists does not grow with what one member creates."""

import re
from collections.abc import Callable
from uuid import UUID

import pytest
from django.test import Client

from accounts import services as accounts
from accounts.errors import Conflict
from accounts.models import TeamRole, User
from accounts.services import invitations, teams, tokens
from agents import services as agents
from agents.services import connections
from agents.services import personas as persona_services
from rooms import services
from rooms.models import Privacy, Room
from rooms.pages.sidebar import PAGE_ITEMS, SIDEBAR_ITEMS
from rooms.services import personas as bindings
from rooms.services import rooms as room_services
from tests.accounts.conftest import make_user
from tests.security.principals import Tenant, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("Here")


def list_of(user: User, query: str = "") -> str:
    """Return the page of the user's rooms and of the open rooms."""
    client = Client()
    client.force_login(user)
    return str(client.get(f"/rooms/?{query}").content.decode())


def open_rooms(tenant: Tenant, count: int, monkeypatch: pytest.MonkeyPatch) -> list[Room]:
    monkeypatch.setattr(room_services, "MAX_OWNED_ROOMS", 1_000)
    return [
        services.create_room(
            user=tenant.owner,
            team_id=tenant.team.pk,
            name=f"open {number:03}",
            privacy=Privacy.TEAM,
        )
        for number in range(count)
    ]


def test_rooms_of_one_member_do_not_grow_the_pages_of_others(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = open_rooms(tenant, PAGE_ITEMS, monkeypatch)
    before = len(list_of(tenant.member))
    more = open_rooms(tenant, PAGE_ITEMS // 2, monkeypatch)

    page = list_of(tenant.member)
    second = list_of(tenant.member, f"team={tenant.team.pk}&open=2")

    assert len(page) < before + 1_000
    assert page.count("/join/") == len(few)
    assert "open=2" in page
    assert second.count("/join/") == len(more)


def test_sidebar_shows_the_active_rooms_and_a_link_to_all(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = open_rooms(tenant, SIDEBAR_ITEMS + 3, monkeypatch)
    quiet = rooms[-1]
    services.post_message(user=tenant.owner, room_id=rooms[0].pk, text="news", personas=[])
    client = Client()
    client.force_login(tenant.owner)

    page = client.get(f"/rooms/{quiet.pk}/").content.decode()

    page, _, _template = page.partition("<template")
    shown = re.findall(r'class="row"[^>]*data-room-id="([^"]+)"', page)
    assert len(shown) <= SIDEBAR_ITEMS + 1
    assert {str(quiet.pk), str(rooms[0].pk)} <= set(shown)
    assert f'href="/rooms/?team={tenant.team.pk}"' in page
    first = list_of(tenant.owner, f"team={tenant.team.pk}")
    assert all(str(room.pk) in first for room in rooms)


def a_team(tenant: Tenant) -> None:
    accounts.create_team(user=tenant.owner, name="x")


def a_token(tenant: Tenant) -> None:
    accounts.create_token(user=tenant.owner, name="x")


def an_invitation(tenant: Tenant) -> None:
    accounts.invite(user=tenant.owner, team_id=tenant.team.pk)


def a_room(tenant: Tenant) -> None:
    services.create_room(user=tenant.owner, team_id=tenant.team.pk, name="x")


def a_connection(tenant: Tenant) -> None:
    name = f"x{tenant.team.connections.count()}"
    agents.create_connection(user=tenant.owner, team_id=tenant.team.pk, name=name, kind="demo")


def a_persona(tenant: Tenant) -> UUID:
    persona = agents.create_persona(
        user=tenant.owner,
        team_id=tenant.team.pk,
        name="x",
        role="x",
        goal="x",
        connection=tenant.id("connection"),
        model="demo",
    )
    return persona.pk


def a_binding(tenant: Tenant) -> None:
    services.bind_persona(user=tenant.owner, room_id=tenant.room.pk, persona_id=a_persona(tenant))


@pytest.mark.parametrize(
    ("module", "limit", "create"),
    [
        (teams, "MAX_OWNED_TEAMS", a_team),
        (tokens, "MAX_TOKENS", a_token),
        (invitations, "MAX_OPEN_INVITATIONS", an_invitation),
        (room_services, "MAX_OWNED_ROOMS", a_room),
        (connections, "MAX_CONNECTIONS", a_connection),
        (persona_services, "MAX_PERSONAS", a_persona),
        (bindings, "MAX_BOUND_PERSONAS", a_binding),
    ],
)
def test_creation_above_the_limit_is_a_conflict_with_a_sentence(
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    limit: str,
    create: Callable[[Tenant], object],
) -> None:
    monkeypatch.setattr(module, limit, 2)  # the tenant has one of each
    create(tenant)

    with pytest.raises(Conflict) as refused:
        create(tenant)

    assert len(str(refused.value.detail)) > 20


def test_limits_of_a_person_do_not_count_what_others_own(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_services, "MAX_OWNED_ROOMS", 1)
    other = make_user("Other")
    teams.add_team_member(tenant.team, other, TeamRole.MEMBER)

    room = services.create_room(user=other, team_id=tenant.team.pk, name="x")

    assert room.pk
