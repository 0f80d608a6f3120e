"""Services for connections: rights, validation, and where keys are sent."""

from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test import Client
from pytest_django import Settings

from accounts.errors import Conflict, Invalid, NotFound, RateLimited
from accounts.models import User
from accounts.rate_limits import LIMITS, MemoryCounters
from accounts.services import create_token
from agents import services
from agents.models import Connection
from agents.provider_keys import decrypt
from agents.services.connection_check import CheckResult
from tests.agents.cast import ALLOWED, KEY, REFUSED, URL, Cast, connect, make_cast
from tests.provider import running


def stored_key(connection: Connection) -> str:
    connection.refresh_from_db()
    return decrypt(connection.key_encrypted) if connection.key_encrypted else ""


def test_a_key_is_stored_encrypted(cast: Cast) -> None:
    assert KEY not in cast.connection.key_encrypted
    assert stored_key(cast.connection) == KEY


def test_an_update_without_a_key_keeps_the_stored_key(cast: Cast) -> None:
    services.update_connection(
        user=cast.admin, connection_id=cast.connection.pk, name="Renamed", models=["x"]
    )

    assert stored_key(cast.connection) == KEY
    assert cast.connection.name == "Renamed"
    assert cast.connection.model_names == ["x"]


def test_another_path_of_the_same_origin_keeps_the_key(cast: Cast) -> None:
    services.update_connection(
        user=cast.owner, connection_id=cast.connection.pk, base_url="https://203.0.113.7:443/v2/"
    )

    assert stored_key(cast.connection) == KEY
    assert cast.connection.base_url == "https://203.0.113.7:443/v2"


@pytest.mark.parametrize("url", ["https://203.0.113.8/v1", "http://203.0.113.7/v1"])
def test_another_origin_removes_the_key(cast: Cast, url: str) -> None:
    services.update_connection(user=cast.owner, connection_id=cast.connection.pk, base_url=url)

    assert stored_key(cast.connection) == ""


def test_another_origin_with_a_new_key_stores_the_new_key(cast: Cast) -> None:
    services.update_connection(
        user=cast.owner,
        connection_id=cast.connection.pk,
        base_url="https://203.0.113.8/v1",
        key="sk-new",
    )

    assert stored_key(cast.connection) == "sk-new"


def test_an_empty_key_removes_the_stored_key(cast: Cast) -> None:
    services.update_connection(user=cast.owner, connection_id=cast.connection.pk, key="")

    assert stored_key(cast.connection) == ""


@pytest.mark.parametrize("url", ["", "ftp://203.0.113.7", "http://127.0.0.1:9/v1", "nonsense"])
def test_a_refused_address_is_an_error_of_its_field(cast: Cast, url: str) -> None:
    with pytest.raises(Invalid) as refused:
        services.update_connection(user=cast.owner, connection_id=cast.connection.pk, base_url=url)

    assert set(refused.value.fields or {}) == {"base_url"}
    assert stored_key(cast.connection) == KEY


@pytest.mark.parametrize("key", ["two words", "sk-\n\x00x: y", "열쇠", "k" * 1001])
def test_an_invalid_key_is_refused(cast: Cast, key: str) -> None:
    with pytest.raises(Invalid) as refused:
        services.update_connection(user=cast.owner, connection_id=cast.connection.pk, key=key)

    assert set(refused.value.fields or {}) == {"key"}
    assert key not in str(refused.value.detail)


def test_the_name_of_a_connection_is_unique_in_its_team(cast: Cast) -> None:
    with pytest.raises(Conflict):
        connect(cast.owner, cast.team, name="PROVIDER")

    assert cast.foreign.name == cast.connection.name


def test_a_demo_connection_has_neither_address_nor_key(cast: Cast) -> None:
    demo = services.create_connection(
        user=cast.owner, team_id=cast.team.pk, name="Demo", kind="demo", base_url=URL, key=KEY
    )

    assert (demo.base_url, demo.key_encrypted, demo.model_names) == ("", "", ["demo"])


def test_an_unknown_kind_is_refused(cast: Cast) -> None:
    with pytest.raises(Invalid) as refused:
        services.create_connection(
            user=cast.owner, team_id=cast.team.pk, name="X", kind="magic", base_url=URL
        )

    assert "kind" in (refused.value.fields or {})


def test_a_connection_in_use_cannot_be_deleted(cast: Cast) -> None:
    with pytest.raises(Conflict):
        services.delete_connection(user=cast.owner, connection_id=cast.connection.pk)

    services.delete_persona(user=cast.owner, persona_id=cast.persona.pk)
    services.delete_connection(user=cast.owner, connection_id=cast.connection.pk)
    assert not Connection.objects.filter(pk=cast.connection.pk).exists()


@pytest.mark.parametrize(("who", "error"), REFUSED)
def test_only_owners_and_admins_may_change_connections(
    cast: Cast, who: str, error: type[Exception]
) -> None:
    user: User = getattr(cast, who)

    with pytest.raises(error):
        connect(user, cast.team, name="Mine")
    with pytest.raises(error):
        services.update_connection(user=user, connection_id=cast.connection.pk, name="Mine")
    with pytest.raises(error):
        services.check_connection(user=user, connection_id=cast.connection.pk)
    with pytest.raises(error):
        services.delete_connection(user=user, connection_id=cast.connection.pk)


def test_an_unknown_connection_is_not_found(cast: Cast) -> None:
    with pytest.raises(NotFound):
        services.check_connection(user=cast.owner, connection_id=uuid4())


def test_a_check_sends_the_stored_key_only_to_its_origin(cast: Cast, settings: Settings) -> None:
    with running() as first, running() as second:
        settings.EGRESS_ALLOW = frozenset({first.address, second.address})
        connection = services.create_connection(
            user=cast.owner,
            team_id=cast.team.pk,
            name="Stub",
            kind="openai",
            base_url=first.base_url,
            key="refused-CANARY",  # the stub refuses each request with this key
        )

        stored = services.check_connection(user=cast.owner, connection_id=connection.pk)
        moved = services.check_connection(
            user=cast.owner, connection_id=connection.pk, base_url=second.base_url
        )
        entered = services.check_connection(
            user=cast.owner,
            connection_id=connection.pk,
            base_url=second.base_url,
            key="refused-too",
        )

    assert not stored.ok
    assert moved.ok
    assert not entered.ok


def test_the_check_of_an_unreadable_key_requests_a_new_key(cast: Cast, settings: Settings) -> None:
    from agents.provider_keys import connection_keys

    settings.CONNECTION_KEYS = connection_keys("another secret")

    checked = services.check_connection(user=cast.owner, connection_id=cast.connection.pk)

    assert not checked.ok
    assert "Enter it again" in checked.detail


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["check", "try", "create", "change"])
def test_the_database_connection_is_released_before_network_access(
    way: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has 20 database connections, and its sockets need them, too."""
    settings.EGRESS_ALLOW = ALLOWED
    cast = make_cast()
    in_team: dict[str, Any] = {"user": cast.owner, "team_id": cast.team.pk}
    existing: dict[str, Any] = {"user": cast.owner, "connection_id": cast.connection.pk}
    new: dict[str, Any] = {"kind": "openai", "base_url": URL, "key": ""}
    connected: list[bool] = []

    def fake_network(*args: object, **kwargs: object) -> CheckResult:
        connected.append(database.connection is not None)
        return CheckResult(True, "")

    monkeypatch.setattr("agents.services.connections.check_url", fake_network)
    monkeypatch.setattr("agents.services.connection_check.check_provider", fake_network)
    match way:
        case "check":
            services.check_connection(**existing)
        case "try":
            services.check_new_connection(**in_team, **new)
        case "create":
            services.create_connection(**in_team, **new, name="New")
        case "change":
            services.update_connection(**existing, base_url=URL)

    assert connected == [False]


def test_checks_are_rate_limited_per_user_and_per_team(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = True
    counters = MemoryCounters()
    monkeypatch.setattr("accounts.rate_limits.get_counters", lambda: counters)
    monkeypatch.setattr(
        "agents.services.connection_check.check_provider", lambda **_: CheckResult(True, "")
    )
    new: dict[str, Any] = {"team_id": cast.team.pk, "kind": "openai", "base_url": URL, "key": ""}

    def checks_until_limited(user: User) -> int:
        for number in count():
            try:
                if number % 2:
                    services.check_connection(user=user, connection_id=cast.connection.pk)
                else:
                    services.check_new_connection(user=user, **new)
            except RateLimited:
                return number
        raise AssertionError

    per_user, per_team = LIMITS["check", "user"].max_count, LIMITS["check", "team"].max_count
    assert checks_until_limited(cast.owner) == per_user
    assert checks_until_limited(cast.admin) == min(
        per_user, per_team - per_user - 1
    )  # the refused check counts, too


def test_the_host_name_is_resolved_outside_of_a_transaction(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _token, secret = create_token(user=cast.owner, name="t", scopes=["admin"])
    depth = len(database.savepoint_ids)
    depths: list[int] = []
    monkeypatch.setattr(
        "agents.services.connections.check_url",
        lambda url: depths.append(len(database.savepoint_ids) - depth),
    )

    answer = Client().post(
        f"/api/v1/teams/{cast.team.pk}/connections",
        {"name": "New", "kind": "openai", "base_url": URL},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": "one"},
    )

    assert answer.status_code == 201, answer.content
    assert depths == [0]


def test_the_longest_name_of_the_api_is_stored_in_full(cast: Cast) -> None:
    name = "n" * 80

    created = connect(cast.owner, cast.team, name=name)
    services.update_connection(user=cast.owner, connection_id=cast.connection.pk, name=name[:-1])

    cast.connection.refresh_from_db()
    assert (created.name, cast.connection.name) == (name, name[:-1])
