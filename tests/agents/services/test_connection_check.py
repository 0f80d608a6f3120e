"""The check of a connection: one sentence about what is wrong."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event, Semaphore, Thread

import pytest
from pytest_django.fixtures import Settings

from accounts.errors import RateLimited
from agents.services.connection_check import MAX_CONCURRENT_CHECKS, CheckResult, check_provider
from tests.agents.engine.answers import KEY
from tests.provider import Provider, running


def check(base_url: str, *, key: str = KEY, model: str = "") -> CheckResult:
    return check_provider(kind="openai", base_url=base_url, key=key, model=model)


def test_a_working_connection_lists_its_models(provider: Provider) -> None:
    result = check(provider.base_url, model="echo")

    assert result.ok
    assert "echo" in result.models


def test_a_trailing_slash_is_ignored(provider: Provider) -> None:
    assert check(provider.base_url + "/").ok


def test_a_refused_key_is_reported_and_not_shown(provider: Provider) -> None:
    result = check(provider.base_url, key="refused-CANARY")

    assert result == CheckResult(False, "The provider refused this key. Check the key.")


def test_an_unknown_model_is_reported_with_its_name(provider: Provider) -> None:
    result = check(provider.base_url, model="gpt-nothing")

    assert not result.ok
    assert "gpt-nothing" in result.detail
    assert "echo" in result.models


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/", "No API"),
        ("/nowhere/v1", "No API"),
        ("/site", "OpenAI"),
        ("/elsewhere", "redirects"),
    ],
)
def test_a_wrong_path_is_reported(provider: Provider, path: str, word: str) -> None:
    result = check(f"http://{provider.address}{path}")

    assert not result.ok
    assert word in result.detail
    assert "/_stub/trap" not in provider.hits


def test_a_closed_port_is_reported(settings: Settings) -> None:
    with running() as stopped:
        settings.EGRESS_ALLOW = frozenset({stopped.address})

    result = check(stopped.base_url)

    assert result.detail == "The provider cannot be reached. Check the address and the port."


def test_a_host_without_an_address_is_reported() -> None:
    assert "host name" in check("https://models.invalid/v1").detail


def test_a_private_address_is_refused() -> None:
    result = check("http://169.254.169.254/v1")

    assert not result.ok
    assert "not public" in result.detail


def test_the_check_of_a_demo_connection_succeeds() -> None:
    assert check_provider(kind="demo", base_url="", key="").ok


@contextmanager
def slow_server(start: bytes) -> Iterator[str]:
    """Run a server that sends `start`, then one byte every 20 ms without end; yield its address."""
    stopped = Event()

    def serve() -> None:
        with suppress(OSError):
            connection, _address = server.accept()
            with connection:
                connection.sendall(start)
                while not stopped.wait(0.02):
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stopped.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n"


@pytest.mark.parametrize("start", [b"", HEAD + b"X-Slow: ", HEAD + b"\r\n"])
def test_the_deadline_ends_the_check_of_a_server_that_sends_slowly(
    start: bytes, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.services.connection_check.TIMEOUT_SECONDS", 0.4)
    with slow_server(start) as address:
        settings.EGRESS_ALLOW = frozenset({address})

        result = check(f"http://{address}/v1")

    assert (
        result.detail
        == "The provider did not answer in time. Check the address, or try again later."
    )


def test_the_deadline_ends_the_check_of_a_name_that_is_not_resolved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = Event()
    monkeypatch.setattr("agents.services.connection_check.TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: release.wait() and [])

    result = check("https://models.example/v1")
    release.set()

    assert (
        result.detail
        == "The provider did not answer in time. Check the address, or try again later."
    )


def test_a_check_above_the_limit_is_rate_limited(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release = Semaphore(0), Event()

    def slow_getaddrinfo(*args: object, **kwargs: object) -> list[object]:
        started.release()
        release.wait()
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow_getaddrinfo)
    with ThreadPoolExecutor(MAX_CONCURRENT_CHECKS) as pool:
        running_checks = [
            pool.submit(check, "https://models.example/v1") for _ in range(MAX_CONCURRENT_CHECKS)
        ]
        for _ in running_checks:
            started.acquire()
        try:
            with pytest.raises(RateLimited):
                check("https://models.example/v1")
        finally:
            release.set()

    assert {check.result().ok for check in running_checks} == {False}
    assert "host name" in check("https://models.example/v1").detail
