"""Another MARU_SECRET_KEY: stored keys follow it, and a wrong one is said aloud."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from agents.models import Connection
from agents.secrets import connection_keys, decrypt
from agents.services import rotate_keys, unreadable_keys
from tests.agents.cast import KEY, Cast

OLD, NEW, WRONG = "the old secret key", "the new secret key", "a wrong secret key"


@pytest.fixture
def cast(settings: Settings, cast: Cast) -> Cast:
    """The cast, with its keys stored under the old secret key."""
    Connection.objects.create(team=cast.team, name="Demo", kind="demo", model_names=["demo"])
    return cast


@pytest.fixture(autouse=True)
def _old_key(settings: Settings) -> None:
    settings.CONNECTION_KEYS = connection_keys(OLD)


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("rotate_keys", *arguments, stdout=out)
    return out.getvalue()


def test_keys_that_were_rotated_need_the_old_secret_no_more(settings: Settings, cast: Cast) -> None:
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    output = said()

    settings.CONNECTION_KEYS = connection_keys(NEW)
    cast.connection.refresh_from_db()
    assert output.splitlines()[0] == "Encrypted under MARU_SECRET_KEY: 2 keys."
    assert decrypt(cast.connection.key_encrypted) == KEY
    assert unreadable_keys() == []


def test_check_changes_nothing(settings: Settings, cast: Cast) -> None:
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    assert said("--check") == "Every stored key can be read.\n"
    stored = cast.connection.key_encrypted
    cast.connection.refresh_from_db()
    assert cast.connection.key_encrypted == stored


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_wrong_secret_key_is_said_aloud_and_loses_nothing(
    settings: Settings, cast: Cast, arguments: tuple[str, ...]
) -> None:
    settings.CONNECTION_KEYS = connection_keys(WRONG)

    with pytest.raises(CommandError, match="cannot be read") as refused:
        said(*arguments)

    assert str(cast.connection.pk) in str(refused.value)
    assert KEY not in str(refused.value)
    settings.CONNECTION_KEYS = connection_keys(OLD)
    assert unreadable_keys() == []


def test_one_damaged_key_does_not_hold_up_the_others(settings: Settings, cast: Cast) -> None:
    Connection.objects.filter(pk=cast.foreign.pk).update(key_encrypted="broken")
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    with pytest.raises(CommandError, match=str(cast.foreign.pk)):
        said()

    settings.CONNECTION_KEYS = connection_keys(NEW)
    assert unreadable_keys() == [cast.foreign.pk]


def test_key_that_is_entered_meanwhile_is_kept(
    settings: Settings, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    def entered_meanwhile(stored: str) -> str:
        Connection.objects.update(key_encrypted="of somebody who was quicker")
        return stored

    monkeypatch.setattr("agents.services.connections.rotate", entered_meanwhile)

    assert rotate_keys() == 0
    cast.connection.refresh_from_db()
    assert cast.connection.key_encrypted == "of somebody who was quicker"
