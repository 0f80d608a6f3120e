"""The check button: what is wrong with a connection, in one sentence."""

import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event, Semaphore, Thread

import pytest
from pytest_django.fixtures import Settings

from accounts.errors import RateLimited
from agents.services.connection_check import AT_ONCE, CheckResult, check_connection
from tests.agents.engine.asking import KEY
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


@contextmanager
def dripping(parts: Iterable[bytes]) -> Iterator[str]:
    """A provider that sends `parts`, one now and then; yields its address."""
    over = Event()

    def serve() -> None:
        with suppress(OSError):
            caller, _address = server.accept()
            with caller:
                for part in parts:
                    caller.sendall(part)
                    if over.wait(0.02):
                        return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"
DRIPS = 100


@pytest.mark.parametrize("before", [b"", HEAD + b"X-Slow: ", HEAD + b"\r\n"])
def test_a_provider_that_drips_is_left_at_the_deadline(
    before: bytes, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.services.connection_check.SECONDS", 0.4)
    with dripping([before, *[b"x"] * DRIPS]) as address:
        settings.EGRESS_ALLOW = frozenset({address})

        checked = check(f"http://{address}/v1")

    assert checked.detail == "The provider does not answer in time. Check the address."


def test_a_name_that_nobody_resolves_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = Event()
    monkeypatch.setattr("agents.services.connection_check.SECONDS", 0.1)
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: answered.wait() and [])

    checked = check("https://models.example/v1")
    answered.set()

    assert checked.detail == "The provider does not answer in time. Check the address."


def test_one_check_too_many_at_once_is_told_to_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = Semaphore(0), Event()

    def look_up(*args: object, **kwargs: object) -> list[object]:
        asked.release()
        answered.wait()
        return []

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        going = [pool.submit(check, "https://models.example/v1") for _ in range(AT_ONCE)]
        for _ in going:
            asked.acquire()
        try:
            with pytest.raises(RateLimited):
                check("https://models.example/v1")
        finally:
            answered.set()

    assert {checked.result().ok for checked in going} == {False}
    assert "host name" in check("https://models.example/v1").detail
