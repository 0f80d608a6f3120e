"""The pages of connections and personas: access for each of the cast, forms, and no keys."""

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
    """Return the URL of every route of this app."""
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
        "persona_import": [team],
        "persona": [team, persona],
        "persona_grants": [team, persona],
        "connect_model": [team, persona],
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


def flashed(request: HttpRequest) -> list[str]:
    return [str(message) for message in get_messages(request)]


def test_addresses_has_every_route_of_the_app(cast: Cast) -> None:
    from agents.views.urls import urlpatterns

    # Those of MCP servers are in tests/mcp and in tests/security.
    names = {str(pattern.name) for pattern in urlpatterns}
    assert set(addresses(cast)) == {name for name in names if not name.startswith("mcp_")}


@pytest.mark.parametrize("who", ["owner", "admin"])
def test_owners_and_admins_see_every_page(cast: Cast, browse: Browse, who: str) -> None:
    client = browse(getattr(cast, who))

    for name, address in addresses(cast).items():
        expected = 302 if name in POST_ONLY else 200
        assert client.get(address).status_code == expected, name


@pytest.mark.parametrize(
    ("who", "status"), [("member", 403), ("guest", 403), ("stranger", 404), ("nobody", 404)]
)
def test_other_users_see_no_page(cast: Cast, browse: Browse, who: str, status: int) -> None:
    client = browse(getattr(cast, who))

    for name, address in addresses(cast).items():
        if name not in POST_ONLY:
            assert client.get(address).status_code == status, name
        if name not in GET_ONLY:
            assert client.post(address).status_code == status, name
    assert Persona.objects.filter(pk=cast.persona.pk).exists()


def test_an_anonymous_visitor_is_redirected_to_the_login(cast: Cast) -> None:
    for name, address in addresses(cast).items():
        response = Client().post(address)
        assert response.status_code == 302, name
        assert response.headers["Location"].startswith("/accounts/login/"), name


def test_an_attempt_to_gain_rights_is_in_the_audit_log(cast: Cast, browse: Browse) -> None:
    """A member who may edit and share can neither change the model nor grant that right."""
    rights = frozenset({"edit", "share"})
    grants = [services.Grant(rights, user=cast.member.pk)]
    services.put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)
    client, pages = browse(cast.member), addresses(cast)
    earlier = set(AuditEntry.objects.values_list("pk", flat=True))

    other_model = persona_form(cast, model=f"{cast.connection.pk} small")
    responses = [
        client.post(pages["persona"], other_model),
        client.post(pages["persona_grants"], {f"person-{cast.guest.pk}": "manage"}),
    ]

    assert [response.status_code for response in responses] == [200, 200]
    entries = AuditEntry.objects.filter(team=cast.team).exclude(pk__in=earlier)
    attempts = [(entry.actor, entry.refused, entry.action[:5]) for entry in entries]
    assert attempts == [(cast.member, True, "POST ")] * 2


def test_the_audit_entry_of_an_attempt_names_its_target(cast: Cast, browse: Browse) -> None:
    targets = {"persona": cast.persona.pk, "connection": cast.connection.pk}
    client, attempts = browse(cast.member), 0

    for name, path in addresses(cast).items():
        kind = name.partition("_")[0]
        if str(targets.get(kind)) not in path:
            continue
        assert client.post(path).status_code == 403, name
        entry = AuditEntry.objects.filter(team=cast.team).latest("number")
        assert (entry.target_kind, entry.target_id) == (kind, targets[kind]), name
        assert entry.before == {"team": str(cast.team.pk)}, name
        attempts += 1

    assert attempts == 8


def test_a_row_under_the_url_of_another_team_is_not_found(cast: Cast, browse: Browse) -> None:
    client = browse(cast.owner)
    other = cast.foreign.team_id

    for name, target in (
        ("connection", cast.connection.pk),
        ("connection_delete", cast.connection.pk),
        ("persona", cast.persona.pk),
        ("persona_delete", cast.persona.pk),
    ):
        assert client.get(reverse(f"agents:{name}", args=[other, target])).status_code == 404
        assert client.get(reverse(f"agents:{name}", args=[uuid4(), target])).status_code == 404


def test_no_page_contains_a_key(cast: Cast, browse: Browse) -> None:
    client = browse(cast.owner)

    pages = [client.get(address).content.decode() for address in addresses(cast).values()]
    pages.append(
        client.post(
            addresses(cast)["connection"], {"name": "", "base_url": URL, "key": KEY}
        ).content.decode()
    )

    assert all(KEY not in page for page in pages)
    assert all(cast.connection.key_encrypted not in page for page in pages)


def test_a_connection_is_created(cast: Cast, browse: Browse) -> None:
    response = browse(cast.owner).post(
        addresses(cast)["connection_create"],
        {"name": "Second", "kind": "openai", "base_url": URL, "key": "sk-2", "models": "a\r\nb"},
    )

    assert response.status_code == 302
    assert Connection.objects.get(name="Second").model_names == ["a", "b"]


def test_a_demo_connection_needs_only_a_name(cast: Cast, browse: Browse) -> None:
    response = browse(cast.owner).post(
        addresses(cast)["connection_create"], {"name": "Demo", "kind": "demo"}
    )

    assert response.status_code == 302
    assert Connection.objects.get(name="Demo").kind == "demo"


def test_a_refused_address_is_shown_at_its_field(cast: Cast, browse: Browse) -> None:
    response = browse(cast.owner).post(
        addresses(cast)["connection"],
        {"name": "Provider", "base_url": "http://127.0.0.1:9/v1", "models": "large"},
    )

    assert response.status_code == 200
    assert response.context["form"].errors["base_url"]
    assert 'id="id_base_url_error"' in response.content.decode()


def test_a_changed_address_warns_that_the_key_is_removed(cast: Cast, browse: Browse) -> None:
    response = browse(cast.owner).post(
        addresses(cast)["connection"],
        {"name": "Provider", "base_url": "https://203.0.113.8/v1", "models": "large"},
    )

    assert "without a key" in flashed(response.wsgi_request)[0]


def test_a_check_returns_a_page_or_json(cast: Cast, browse: Browse, settings: Settings) -> None:
    client = browse(cast.owner)
    with running() as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        draft = {"name": "X", "kind": "openai", "base_url": provider.base_url, "models": ""}

        page = client.post(addresses(cast)["connection_try"], draft)
        response = client.post(
            addresses(cast)["connection_check"], draft, headers={"Accept": "application/json"}
        )

    assert page.context["result"].ok
    assert "echo" in page.content.decode()  # the check fills in an empty list of models
    assert json.loads(response.content)["ok"] is True


def test_a_check_from_the_list_redirects_to_the_list(cast: Cast, browse: Browse) -> None:
    services.update_connection(user=cast.owner, connection_id=cast.connection.pk, key="")
    demo = services.create_demo_persona(user=cast.owner, team_id=cast.team.pk).connection

    response = browse(cast.owner).post(
        reverse("agents:connection_check", args=[cast.team.pk, demo.pk])
    )

    assert response.status_code == 302
    assert "demo needs no provider" in flashed(response.wsgi_request)[0]


def test_the_deletion_of_a_connection_in_use_lists_its_personas_and_fails(
    cast: Cast, browse: Browse
) -> None:
    client = browse(cast.owner)
    address = addresses(cast)["connection_delete"]

    assert cast.persona.name in client.get(address).content.decode()
    assert client.post(address).status_code == 302
    assert Connection.objects.filter(pk=cast.connection.pk).exists()


def test_a_persona_is_created(cast: Cast, browse: Browse) -> None:
    response = browse(cast.admin).post(
        addresses(cast)["persona_create"],
        persona_form(cast, name="Byeori", handle="", version=""),
    )

    persona = Persona.objects.get(name="Byeori")
    assert response.headers["Location"] == reverse(
        "agents:persona", args=[cast.team.pk, persona.pk]
    )
    assert persona.handle == "byeori"


def test_a_saved_change_shows_its_version(cast: Cast, browse: Browse) -> None:
    response = browse(cast.admin).post(
        addresses(cast)["persona"], persona_form(cast, goal="One.\r\nTwo.", temperature="0.3")
    )

    cast.persona.refresh_from_db()
    assert flashed(response.wsgi_request) == ["Saved as version 2."]
    assert (cast.persona.goal, cast.persona.temperature) == ("One.\nTwo.", 0.3)


def test_saving_without_a_change_makes_no_version(cast: Cast, browse: Browse) -> None:
    response = browse(cast.admin).post(addresses(cast)["persona"], persona_form(cast))

    cast.persona.refresh_from_db()
    assert cast.persona.version == 1
    assert "no new version" in flashed(response.wsgi_request)[0]


def test_an_old_page_does_not_overwrite_a_newer_version(cast: Cast, browse: Browse) -> None:
    form = persona_form(cast, goal="From an old page.")
    services.update_persona(user=cast.owner, persona_id=cast.persona.pk, goal="Newer.")

    response = browse(cast.admin).post(addresses(cast)["persona"], form)

    assert response.status_code == 200
    assert "Version 2 was saved while you were editing" in response.content.decode()
    assert "From an old page." in response.content.decode()


def test_a_model_of_another_team_cannot_be_chosen(cast: Cast, browse: Browse) -> None:
    response = browse(cast.owner).post(
        addresses(cast)["persona"], persona_form(cast, model=f"{cast.foreign.pk} large")
    )

    assert response.context["form"].errors["model"]


def test_versions_are_listed_and_restored(cast: Cast, browse: Browse) -> None:
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


def test_names_are_escaped(cast: Cast, browse: Browse) -> None:
    services.update_persona(
        user=cast.owner, persona_id=cast.persona.pk, name="<b>Garam</b>", role="</textarea><i>"
    )

    for name in ("personas", "persona", "persona_delete"):
        page = browse(cast.owner).get(addresses(cast)[name]).content.decode()
        assert "<b>Garam" not in page
        assert "<i>" not in page.replace("<i></i>", "")


def test_the_lists_need_the_same_number_of_queries_for_many_rows(
    cast: Cast, browse: Browse
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = browse(cast.owner)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            client.get(addresses(cast)["personas"])
            client.get(addresses(cast)["connections"])
        counts.append(len(queries))
        for _ in range(4):
            services.create_demo_persona(user=cast.owner, team_id=cast.team.pk)

    assert counts[0] == counts[1]
