"""The check button: what is wrong with a connection, in one sentence."""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from agents.check import CheckResult, check_connection
from tests.agents.asking import KEY
from tests.provider import Provider, running


@pytest.fixture(scope="module")
def served() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
def provider(served: Provider, settings: Settings) -> Provider:
    settings.EGRESS_ALLOW = frozenset({served.address})
    served.forget()
    return served


def check(base_url: str, *, key: str = KEY, model: str = "") -> CheckResult:
    return check_connection(kind="openai", base_url=base_url, key=key, model=model)


def test_a_good_connection_lists_its_models(provider: Provider) -> None:
    checked = check(provider.base_url, model="echo")

    assert checked.ok
    assert "echo" in checked.models


def test_a_slash_at_the_end_changes_nothing(provider: Provider) -> None:
    assert check(provider.base_url + "/").ok


def test_a_refused_key_is_named_and_not_shown(provider: Provider) -> None:
    checked = check(provider.base_url, key="refused-CANARY")

    assert checked == CheckResult(False, "The provider refuses this key. Check the key.")


def test_an_unknown_model_is_named(provider: Provider) -> None:
    checked = check(provider.base_url, model="gpt-nothing")

    assert not checked.ok
    assert "gpt-nothing" in checked.detail
    assert "echo" in checked.models


@pytest.mark.parametrize(
    ("path", "word"),
    [("/", "path"), ("/nowhere/v1", "path"), ("/site", "OpenAI"), ("/elsewhere", "elsewhere")],
)
def test_a_wrong_path_is_told_apart(provider: Provider, path: str, word: str) -> None:
    checked = check(f"http://{provider.address}{path}")

    assert not checked.ok
    assert word in checked.detail
    assert "/_stub/trap" not in provider.hits


def test_nothing_listens_there(settings: Settings) -> None:
    with running() as gone:
        settings.EGRESS_ALLOW = frozenset({gone.address})

    checked = check(gone.base_url)

    assert checked.detail == "The provider cannot be reached. Check address and port."


def test_a_name_without_an_address() -> None:
    assert "host name" in check("https://models.invalid/v1").detail


def test_a_private_address_is_refused_before_anything_is_sent() -> None:
    checked = check("http://169.254.169.254/v1")

    assert not checked.ok
    assert "not public" in checked.detail


def test_the_demo_is_always_right() -> None:
    assert check_connection(kind="demo", base_url="", key="").ok
