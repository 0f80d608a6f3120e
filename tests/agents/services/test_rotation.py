"""The command `rotate_keys`: stored keys follow MARU_SECRET_KEY; unreadable ones are reported."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from agents.models import Connection
from agents.provider_keys import connection_keys, decrypt
from agents.services import find_unreadable_keys, rotate_keys
from tests.agents.cast import KEY, Cast

OLD, NEW, WRONG = "the old secret key", "the new secret key", "a wrong secret key"


@pytest.fixture
def cast(settings: Settings, cast: Cast) -> Cast:
    """Return the cast, with keys under the old secret key and a connection without a key."""
    Connection.objects.create(team=cast.team, name="Demo", kind="demo", model_names=["demo"])
    return cast


@pytest.fixture(autouse=True)
def _old_key(settings: Settings) -> None:
    settings.CONNECTION_KEYS = connection_keys(OLD)


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("rotate_keys", *arguments, stdout=out)
    return out.getvalue()


def test_rotated_keys_do_not_need_the_old_secret_key(settings: Settings, cast: Cast) -> None:
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    output = run_command()

    settings.CONNECTION_KEYS = connection_keys(NEW)
    cast.connection.refresh_from_db()
    assert output.splitlines()[0] == "Encrypted under MARU_SECRET_KEY: 2 keys."
    assert decrypt(cast.connection.key_encrypted) == KEY
    assert find_unreadable_keys() == []


def test_check_changes_nothing(settings: Settings, cast: Cast) -> None:
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    assert run_command("--check") == "Every stored key can be read.\n"
    stored = cast.connection.key_encrypted
    cast.connection.refresh_from_db()
    assert cast.connection.key_encrypted == stored


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_wrong_secret_key_is_an_error_and_changes_no_key(
    settings: Settings, cast: Cast, arguments: tuple[str, ...]
) -> None:
    settings.CONNECTION_KEYS = connection_keys(WRONG)

    with pytest.raises(CommandError, match="cannot be read") as refused:
        run_command(*arguments)

    assert str(cast.connection.pk) in str(refused.value)
    assert KEY not in str(refused.value)
    settings.CONNECTION_KEYS = connection_keys(OLD)
    assert find_unreadable_keys() == []


def test_a_damaged_key_does_not_prevent_the_rotation_of_others(
    settings: Settings, cast: Cast
) -> None:
    Connection.objects.filter(pk=cast.foreign.pk).update(key_encrypted="broken")
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    with pytest.raises(CommandError, match=str(cast.foreign.pk)):
        run_command()

    settings.CONNECTION_KEYS = connection_keys(NEW)
    assert find_unreadable_keys() == [cast.foreign.pk]


def test_a_key_that_is_changed_during_the_rotation_is_kept(
    settings: Settings, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CONNECTION_KEYS = connection_keys(NEW, [OLD])

    def change_key(stored: str) -> str:
        Connection.objects.update(key_encrypted="changed during the rotation")
        return stored

    monkeypatch.setattr("agents.services.rotation.rotate", change_key)

    assert rotate_keys() == 0
    cast.connection.refresh_from_db()
    assert cast.connection.key_encrypted == "changed during the rotation"
