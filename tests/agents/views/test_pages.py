"""The pages of connections and personas: what each of the cast gets, and what no page has."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.messages import get_messages
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import AuditEntry, User
from agents import services
from agents.models import Connection, Persona
from tests.agents.cast import KEY, URL, Cast
from tests.provider import running

Browse = Callable[[User], Client]


@pytest.fixture
def browse() -> Browse:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return signed_in


def addresses(cast: Cast) -> dict[str, str]:
    """Every page of this app, and what only takes a POST."""
    team, connection, persona = cast.team.pk, cast.connection.pk, cast.persona.pk
    arguments: dict[str, list[object]] = {
        "connections": [team],
        "connection_create": [team],
        "connection_try": [team],
        "connection": [team, connection],
        "connection_check": [team, connection],
        "connection_delete": [team, connection],
        "personas": [team],
        "persona_create": [team],
        "persona": [team, persona],
        "persona_grants": [team, persona],
        "persona_restore": [team, persona, 1],
        "persona_switch": [team, persona],
        "persona_delete": [team, persona],
    }
    return {name: reverse(f"agents:{name}", args=args) for name, args in arguments.items()}


POST_ONLY = {"connection_try", "connection_check", "persona_restore", "persona_switch"}
GET_ONLY = {"connections", "personas"}


def persona_form(cast: Cast, **changed: object) -> dict[str, object]:
    persona = cast.persona
    form: dict[str, object] = {
        "name": persona.name,
        "handle": persona.handle,
        "role": persona.role,
        "goal": persona.goal,
        "pigment": persona.pigment,
        "lattice": persona.lattice,
        "model": f"{persona.connection_id} {persona.model}",
        "version": persona.version,
    }
    return form | changed


def said(request: HttpRequest) -> list[str]:
    return [str(message) for message in get_messages(request)]


def test_every_address_of_the_app_is_tried_here(cast: Cast) -> None:
    from agents.views.urls import urlpatterns

    assert set(addresses(cast)) == {pattern.name for pattern in urlpatterns}


@pytest.mark.parametrize("who", ["owner", "admin"])
def test_owners_and_admins_see_every_page(cast: Cast, browse: Browse, who: str) -> None:
    client = browse(getattr(cast, who))

    for name, address in addresses(cast).items():
        expected = 302 if name in POST_ONLY else 200
        assert client.get(address).status_code == expected, name


@pytest.mark.parametrize(
    ("who", "status"), [("member", 403), ("guest", 403), ("stranger", 404), ("nobody", 404)]
)
def test_nobody_else_does(cast: Cast, browse: Browse, who: str, status: int) -> None:
    client = browse(getattr(cast, who))

    for name, address in addresses(cast).items():
        if name not in POST_ONLY:
            assert client.get(address).status_code == status, name
        if name not in GET_ONLY:
            assert client.post(address).status_code == status, name
    assert Persona.objects.filter(pk=cast.persona.pk).exists()


def test_who_is_not_signed_in_is_asked_to(cast: Cast) -> None:
    for name, address in addresses(cast).items():
        answer = Client().post(address)
        assert answer.status_code == 302, name
        assert answer.headers["Location"].startswith("/accounts/login/"), name


def test_attempts_to_rise_are_in_the_log_of_the_team(cast: Cast, browse: Browse) -> None:
    """Whoever may edit and share a persona gives it no other model, and nobody the right to."""
    rights = frozenset({"edit", "share"})
    mine = [services.Grant(rights, user=cast.member.pk)]
    services.put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=mine)
    client, pages = browse(cast.member), addresses(cast)
    known = set(AuditEntry.objects.values_list("pk", flat=True))

    another = persona_form(cast, model=f"{cast.connection.pk} small")
    answers = [
        client.post(pages["persona"], another),
        client.post(pages["persona_grants"], {f"person-{cast.guest.pk}": "manage"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    entries = AuditEntry.objects.filter(team=cast.team).exclude(pk__in=known)
    tried = [(entry.actor, entry.refused, entry.action[:5]) for entry in entries]
    assert tried == [(cast.member, True, "POST ")] * 2


def test_attempt_is_filed_under_the_thing_that_it_was_made_on(cast: Cast, browse: Browse) -> None:
    things = {"persona": cast.persona.pk, "connection": cast.connection.pk}
    client, tried = browse(cast.member), 0

    for name, path in addresses(cast).items():
        kind = name.partition("_")[0]
        if str(things.get(kind)) not in path:
            continue
        assert client.post(path).status_code == 403, name
        entry = AuditEntry.objects.filter(team=cast.team).latest("number")
        assert (entry.target_kind, entry.target_id) == (kind, things[kind]), name
        assert entry.before == {"team": str(cast.team.pk)}, name
        tried += 1

    assert tried == 8


def test_a_thing_under_the_address_of_another_team_is_not_there(cast: Cast, browse: Browse) -> None:
    client = browse(cast.owner)
    other = cast.foreign.team_id

    for name, thing in (
        ("connection", cast.connection.pk),
        ("connection_delete", cast.connection.pk),
        ("persona", cast.persona.pk),
        ("persona_delete", cast.persona.pk),
    ):
        assert client.get(reverse(f"agents:{name}", args=[other, thing])).status_code == 404
        assert client.get(reverse(f"agents:{name}", args=[uuid4(), thing])).status_code == 404


def test_no_page_has_a_key(cast: Cast, browse: Browse) -> None:
    client = browse(cast.owner)

    pages = [client.get(address).content.decode() for address in addresses(cast).values()]
    pages.append(
        client.post(
            addresses(cast)["connection"], {"name": "", "base_url": URL, "key": KEY}
        ).content.decode()
    )

    assert all(KEY not in page for page in pages)
    assert all(cast.connection.key_encrypted not in page for page in pages)


def test_a_connection_is_made(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.owner).post(
        addresses(cast)["connection_create"],
        {"name": "Second", "kind": "openai", "base_url": URL, "key": "sk-2", "models": "a\r\nb"},
    )

    assert answer.status_code == 302
    assert Connection.objects.get(name="Second").model_names == ["a", "b"]


def test_a_demo_is_made_of_a_name_alone(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.owner).post(
        addresses(cast)["connection_create"], {"name": "Demo", "kind": "demo"}
    )

    assert answer.status_code == 302
    assert Connection.objects.get(name="Demo").kind == "demo"


def test_an_address_that_is_refused_is_told_at_its_field(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.owner).post(
        addresses(cast)["connection"],
        {"name": "Provider", "base_url": "http://127.0.0.1:9/v1", "models": "large"},
    )

    assert answer.status_code == 200
    assert answer.context["form"].errors["base_url"]
    assert 'id="id_base_url_error"' in answer.content.decode()


def test_moving_a_connection_says_that_the_key_is_gone(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.owner).post(
        addresses(cast)["connection"],
        {"name": "Provider", "base_url": "https://203.0.113.8/v1", "models": "large"},
    )

    assert "without a key" in said(answer.wsgi_request)[0]


def test_a_check_answers_as_a_page_and_as_json(
    cast: Cast, browse: Browse, settings: Settings
) -> None:
    client = browse(cast.owner)
    with running() as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        draft = {"name": "X", "kind": "openai", "base_url": provider.base_url, "models": ""}

        page = client.post(addresses(cast)["connection_try"], draft)
        answer = client.post(
            addresses(cast)["connection_check"], draft, headers={"Accept": "application/json"}
        )

    assert page.context["result"].ok
    assert "echo" in page.content.decode()  # an empty list of models takes what the check found
    assert json.loads(answer.content)["ok"] is True


def test_a_check_from_the_list_comes_back_to_the_list(cast: Cast, browse: Browse) -> None:
    services.update_connection(user=cast.owner, connection_id=cast.connection.pk, key="")
    demo = services.create_demo_persona(user=cast.owner, team_id=cast.team.pk).connection

    answer = browse(cast.owner).post(
        reverse("agents:connection_check", args=[cast.team.pk, demo.pk])
    )

    assert answer.status_code == 302
    assert "demo needs no provider" in said(answer.wsgi_request)[0]


def test_a_connection_in_use_shows_by_whom_and_is_not_deleted(cast: Cast, browse: Browse) -> None:
    client = browse(cast.owner)
    address = addresses(cast)["connection_delete"]

    assert cast.persona.name in client.get(address).content.decode()
    assert client.post(address).status_code == 302
    assert Connection.objects.filter(pk=cast.connection.pk).exists()


def test_a_persona_is_made(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.admin).post(
        addresses(cast)["persona_create"],
        persona_form(cast, name="Byeori", handle="", version=""),
    )

    persona = Persona.objects.get(name="Byeori")
    assert answer.headers["Location"] == reverse("agents:persona", args=[cast.team.pk, persona.pk])
    assert persona.handle == "byeori"


def test_a_saved_change_says_its_version(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.admin).post(
        addresses(cast)["persona"], persona_form(cast, goal="One.\r\nTwo.", temperature="0.3")
    )

    cast.persona.refresh_from_db()
    assert said(answer.wsgi_request) == ["Saved as version 2."]
    assert (cast.persona.goal, cast.persona.temperature) == ("One.\nTwo.", 0.3)


def test_saving_nothing_makes_no_version(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.admin).post(addresses(cast)["persona"], persona_form(cast))

    cast.persona.refresh_from_db()
    assert cast.persona.version == 1
    assert "no version" in said(answer.wsgi_request)[0]


def test_an_old_page_does_not_overwrite_a_newer_version(cast: Cast, browse: Browse) -> None:
    form = persona_form(cast, goal="From an old page.")
    services.update_persona(user=cast.owner, persona_id=cast.persona.pk, goal="Newer.")

    answer = browse(cast.admin).post(addresses(cast)["persona"], form)

    assert answer.status_code == 200
    assert "Version 2 was saved in the meantime" in answer.content.decode()
    assert "From an old page." in answer.content.decode()


def test_a_model_of_another_team_cannot_be_chosen(cast: Cast, browse: Browse) -> None:
    answer = browse(cast.owner).post(
        addresses(cast)["persona"], persona_form(cast, model=f"{cast.foreign.pk} large")
    )

    assert answer.context["form"].errors["model"]


def test_versions_are_listed_and_come_back(cast: Cast, browse: Browse) -> None:
    services.update_persona(user=cast.owner, persona_id=cast.persona.pk, goal="Other.")
    client = browse(cast.admin)

    page = client.get(addresses(cast)["persona"]).content.decode()
    client.post(addresses(cast)["persona_restore"])

    cast.persona.refresh_from_db()
    assert addresses(cast)["persona_restore"] in page
    assert (cast.persona.version, cast.persona.goal) == (3, "Find evidence.")


def test_a_persona_is_switched_off_and_deleted(cast: Cast, browse: Browse) -> None:
    client = browse(cast.admin)

    client.post(addresses(cast)["persona_switch"], {"enabled": "off"})
    cast.persona.refresh_from_db()
    assert not cast.persona.enabled

    client.post(addresses(cast)["persona_delete"])
    assert not Persona.objects.filter(pk=cast.persona.pk).exists()


def test_names_are_text_and_never_markup(cast: Cast, browse: Browse) -> None:
    services.update_persona(
        user=cast.owner, persona_id=cast.persona.pk, name="<b>Garam</b>", role="</textarea><i>"
    )

    for name in ("personas", "persona", "persona_delete"):
        page = browse(cast.owner).get(addresses(cast)[name]).content.decode()
        assert "<b>Garam" not in page
        assert "<i>" not in page.replace("<i></i>", "")


def test_lists_cost_the_same_for_many_rows(cast: Cast, browse: Browse) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = browse(cast.owner)
    costs = []
    for _round in range(2):
        with CaptureQueriesContext(connection) as queries:
            client.get(addresses(cast)["personas"])
            client.get(addresses(cast)["connections"])
        costs.append(len(queries))
        for _count in range(4):
            services.create_demo_persona(user=cast.owner, team_id=cast.team.pk)

    assert costs[0] == costs[1]
