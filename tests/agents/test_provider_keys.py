"""Encryption of provider keys at rest."""

import pytest
from pytest_django.fixtures import Settings

from agents.provider_keys import KeyUnreadable, connection_keys, decrypt, encrypt, rotate

SECRET = "sk-CANARY-at-rest"


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    settings.CONNECTION_KEYS = connection_keys("the secret key")


def test_a_key_is_decrypted_unchanged_and_not_stored_in_plain_text() -> None:
    stored = encrypt(SECRET)

    assert decrypt(stored) == SECRET
    assert "CANARY" not in stored


def test_the_same_key_is_encrypted_differently_each_time() -> None:
    assert encrypt(SECRET) != encrypt(SECRET)


def test_another_secret_key_raises_key_unreadable(settings: Settings) -> None:
    stored = encrypt(SECRET)
    settings.CONNECTION_KEYS = connection_keys("another secret key")

    with pytest.raises(KeyUnreadable):
        decrypt(stored)
    with pytest.raises(KeyUnreadable):
        rotate(stored)


@pytest.mark.parametrize("damaged", ["", "nonsense", "gAAAA", "한글"])
def test_a_damaged_value_is_unreadable(damaged: str) -> None:
    with pytest.raises(KeyUnreadable):
        decrypt(damaged)


def test_a_fallback_secret_key_is_needed_until_the_rotation(settings: Settings) -> None:
    stored = encrypt(SECRET)
    settings.CONNECTION_KEYS = connection_keys("a new secret key", ["the secret key"])
    assert decrypt(stored) == SECRET

    stored = rotate(stored)

    settings.CONNECTION_KEYS = connection_keys("a new secret key")
    assert decrypt(stored) == SECRET


def test_a_derived_key_does_not_contain_the_secret_key() -> None:
    (key,) = connection_keys("the secret key")

    assert "secret" not in key
    assert connection_keys("the secret key") == [key]
    assert connection_keys("the secret kez") != [key]
