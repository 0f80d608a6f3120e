"""`rotate_keys` finds and re-encrypts every encrypted value of the database.

The values are found in the tables by the prefix of Fernet tokens, not by a list of their fields.
"""

import json
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db.models import Model
from pytest_django import Settings

from accounts.login import mfa_secrets
from accounts.services import create_team, create_user
from agents.mcp import tokens
from agents.mcp.oauth import Tokens
from agents.provider_keys import connection_keys
from agents.services import create_connection, create_mcp_server
from tests.accounts.login.totp import enable_totp
from tests.live import ROOT

FERNET_TOKEN = re.compile(r"gAAAA[\w=-]+")
EVERY_KIND = {
    ("Authenticator", "data.migrated_codes"),
    ("Authenticator", "data.secret"),
    ("Authenticator", "data.seed"),
    ("Connection", "key_encrypted"),
    ("McpServer", "headers_encrypted"),
    ("McpServer", "oauth.client_secret_encrypted"),
    ("McpSignIn", "tokens_encrypted"),
}
OLD, NEW, WRONG = "o" * 40, "n" * 40, "w" * 40


def use_key(settings: Settings, key: str, *fallbacks: str) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(fallbacks)
    settings.CONNECTION_KEYS = connection_keys(key, fallbacks)


@pytest.fixture
def _every_kind(db: None, settings: Settings) -> None:
    """Store one row with each kind of encrypted value, under the old key."""
    use_key(settings, OLD)
    owner, other = (
        create_user(name=name, email=f"{name}@example.com", verified=True)
        for name in ("owner", "other")
    )
    team = create_team(user=owner, name="Team")
    create_connection(
        user=owner,
        team_id=team.pk,
        name="Provider",
        kind="openai",
        base_url="https://203.0.113.7/v1",
        key="sk-CANARY",
        models=["large"],
    )
    server: dict[str, Any] = {
        "user": owner,
        "team_id": team.pk,
        "url": "https://203.0.113.7/mcp",
        "auth": "oauth",
    }
    create_mcp_server(**server, name="Headers", headers={"X-Key": "mcp-CANARY"})
    create_mcp_server(**server, name="Client", client_id="ours", client_secret="mcp-CANARY")
    signed_in = create_mcp_server(**server, name="Tokens")
    tokens.store(signed_in, owner, Tokens("access", "refresh", None))
    enable_totp(owner)
    RecoveryCodes.activate(owner)
    codes = {"migrated_codes": [mfa_secrets.encrypt(code) for code in ("12345678", "87654321")]}
    Authenticator.objects.create(user=other, type="recovery_codes", data=codes)


@pytest.fixture(autouse=True)
def _allowed(settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset({"203.0.113.7:443"})


def rows_with_tokens() -> Iterator[tuple[Model, str]]:
    """Yield each row that contains Fernet tokens, with the place of the tokens."""
    for model in apps.get_models(include_auto_created=True):
        for row in model._default_manager.all():
            for field in model._meta.concrete_fields:
                value = field.value_from_object(row)
                for path, text in _texts(field.attname, value):
                    if FERNET_TOKEN.search(text):
                        yield row, path


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}", json.dumps(inner)
    else:
        yield path, str(value)


def kinds() -> set[tuple[str, str]]:
    return {(type(row).__name__, path) for row, path in rows_with_tokens()}


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("rotate_keys", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("_every_kind")
def test_every_kind_of_encrypted_value_is_in_the_test() -> None:
    sources = [
        path.relative_to(ROOT).as_posix()
        for folder in ("accounts", "agents", "rooms", "platform")
        for path in (ROOT / folder).rglob("*.py")
        if "cryptography.fernet" in path.read_text()
    ]

    assert kinds() == EVERY_KIND
    assert sorted(sources) == [
        # Its key contains the client's Idempotency-Key, and the values expire after a day.
        "accounts/api/idempotency.py",
        "accounts/login/mfa_secrets.py",
        "agents/provider_keys.py",
    ]


@pytest.mark.usefixtures("_every_kind")
@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["rotate", "check"])
@pytest.mark.parametrize("kind", sorted(EVERY_KIND), ids=lambda kind: kind[1])
def test_wrong_key_is_an_error_if_only_one_kind_is_stored(
    settings: Settings, kind: tuple[str, str], arguments: tuple[str, ...]
) -> None:
    for row, path in list(rows_with_tokens()):
        if (type(row).__name__, path) != kind:
            row.delete()
    assert kinds() == {kind}
    before = [FERNET_TOKEN.findall(str(vars(row))) for row, _ in rows_with_tokens()]
    use_key(settings, WRONG)

    with pytest.raises(CommandError, match="These keys cannot be read") as failed:
        run_command(*arguments)

    assert "gAAAA" not in str(failed.value)
    assert [FERNET_TOKEN.findall(str(vars(row))) for row, _ in rows_with_tokens()] == before
    use_key(settings, OLD)
    assert "Every stored key can be read." in run_command("--check")


@pytest.mark.usefixtures("_every_kind")
def test_every_kind_is_readable_under_the_new_key_alone_after_a_rotation(
    settings: Settings,
) -> None:
    use_key(settings, NEW, OLD)

    output = run_command()

    use_key(settings, NEW)
    assert output.splitlines() == [
        "Encrypted under MARU_SECRET_KEY: 4 keys.",
        "Encrypted under MARU_SECRET_KEY: 3 second factors.",
        "Every stored key can be read.",
    ]
    assert run_command("--check") == "Every stored key can be read.\n"
    assert kinds() == EVERY_KIND
