"""The steps from a demo persona to an answering one, and back to the room."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from agents.models import ConnectionKind, Persona
from agents.services import create_demo_persona
from tests.agents.cast import KEY, Cast
from tests.provider import running

ROOM = "/rooms/01890000-0000-7000-8000-000000000000/"


@pytest.fixture
def demo(cast: Cast) -> Persona:
    """The demo persona of a team without a provider."""
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    cast.persona.delete()
    cast.connection.delete()
    return persona


@pytest.fixture
def owner(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def steps(persona: Persona) -> str:
    return reverse("agents:connect_model", args=[persona.team_id, persona.pk])


def test_steps_lead_from_the_provider_to_the_model_and_back_to_the_room(
    demo: Persona, owner: Client, settings: Settings
) -> None:
    with running() as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        first = owner.get(f"{steps(demo)}?next={ROOM}").content.decode()
        assert "Check and connect" in first
        assert 'name="model"' not in first

        form = {"name": "Stub", "base_url": provider.base_url, "key": KEY, "models": "echo"}
        connected = owner.post(steps(demo), {**form, "next": ROOM})
        second = owner.get(connected["Location"]).content.decode()

    connection = demo.team.connections.get(kind=ConnectionKind.OPENAI)
    assert KEY not in second
    assert f'value="{connection.pk} echo"' in second
    chosen = owner.post(steps(demo), {"model": f"{connection.pk} echo", "next": ROOM})
    assert chosen["Location"] == ROOM
    demo.refresh_from_db()
    assert (demo.connection, demo.model) == (connection, "echo")


def test_failed_check_saves_nothing_and_keeps_the_form_without_the_key(
    demo: Persona, owner: Client, settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset({"127.0.0.1:9"})
    form = {"name": "Stub", "base_url": "http://127.0.0.1:9/v1", "key": KEY, "models": "echo"}

    page = owner.post(steps(demo), {**form, "next": ROOM}).content.decode()

    assert "The provider cannot be reached." in page
    assert 'value="http://127.0.0.1:9/v1"' in page
    assert KEY not in page
    assert not demo.team.connections.filter(kind=ConnectionKind.OPENAI).exists()


@pytest.mark.parametrize(
    "target",
    ["https://evil.example.com" + ROOM, "//evil.example.com" + ROOM, "/me/", "javascript:alert(1)"],
)
def test_steps_return_only_to_a_room_of_this_site(cast: Cast, owner: Client, target: str) -> None:
    page = owner.get(steps(cast.persona), {"next": target}).content.decode()
    assert re.search(r'name="next" value=""', page)

    chosen = owner.post(
        steps(cast.persona), {"model": f"{cast.connection.pk} small", "next": target}
    )

    assert chosen["Location"] == "/"


def test_unknown_model_is_refused(cast: Cast, owner: Client) -> None:
    for model in (f"{cast.foreign.pk} large", f"{cast.connection.pk} other", "x"):
        page = owner.post(steps(cast.persona), {"model": model})
        assert page.status_code == 200
        assert 'aria-invalid="true"' in page.content.decode()
    cast.persona.refresh_from_db()
    assert cast.persona.model == "large"


def test_room_of_the_page_before_is_the_way_back(cast: Cast, owner: Client) -> None:
    page = owner.get(steps(cast.persona), headers={"Referer": f"http://testserver{ROOM}"})

    assert f'name="next" value="{ROOM}"' in page.content.decode()
