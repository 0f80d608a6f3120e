"""Provider keys at rest."""

import pytest
from pytest_django.fixtures import Settings

from agents.secrets import KeyUnreadable, connection_keys, decrypt, encrypt, rotate

SECRET = "sk-CANARY-at-rest"


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    settings.CONNECTION_KEYS = connection_keys("the secret key")


def test_a_key_comes_back_as_it_was_and_is_not_in_what_is_stored() -> None:
    stored = encrypt(SECRET)

    assert decrypt(stored) == SECRET
    assert "CANARY" not in stored


def test_the_same_key_is_never_stored_alike_twice() -> None:
    assert encrypt(SECRET) != encrypt(SECRET)


def test_another_secret_key_reads_nothing_and_says_so(settings: Settings) -> None:
    stored = encrypt(SECRET)
    settings.CONNECTION_KEYS = connection_keys("another secret key")

    with pytest.raises(KeyUnreadable):
        decrypt(stored)
    with pytest.raises(KeyUnreadable):
        rotate(stored)


@pytest.mark.parametrize("damaged", ["", "nonsense", "gAAAA", "한글"])
def test_what_we_did_not_write_is_unreadable(damaged: str) -> None:
    with pytest.raises(KeyUnreadable):
        decrypt(damaged)


def test_an_old_secret_key_still_reads_until_all_is_rotated(settings: Settings) -> None:
    stored = encrypt(SECRET)
    settings.CONNECTION_KEYS = connection_keys("a new secret key", ["the secret key"])
    assert decrypt(stored) == SECRET

    stored = rotate(stored)

    settings.CONNECTION_KEYS = connection_keys("a new secret key")
    assert decrypt(stored) == SECRET


def test_a_derived_key_does_not_show_what_it_is_derived_from() -> None:
    (key,) = connection_keys("the secret key")

    assert "secret" not in key
    assert connection_keys("the secret key") == [key]
    assert connection_keys("the secret kez") != [key]
