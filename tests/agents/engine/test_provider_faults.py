"""Faults of providers: each has its error code, and no secret reaches the room."""

import asyncio
import logging
from typing import get_args

import httpx
import pytest
from pytest_django.fixtures import Settings

from agents.engine import failures
from agents.engine_types import FAILURE_SENTENCES, FailureCode, Limits
from tests.agents.engine.answers import KEY, ask, persona
from tests.deadlines import DEADLINE, scaled
from tests.provider import Provider, running
from tests.provider.faults import MALFORMED

FAULTS = {
    "fault-400": "provider_refused",
    "fault-401": "provider_refused",
    "fault-402": "provider_refused",
    "fault-403": "provider_refused",
    "fault-404": "provider_refused",
    "fault-422": "provider_refused",
    "fault-redirect": "provider_refused",
    "filtered": "provider_refused",
    "fault-error-400": "provider_refused",
    "fault-error-429": "provider_unavailable",
    "no-such-model": "provider_refused",
    "fault-408": "provider_unavailable",
    "fault-429": "provider_unavailable",
    "fault-500": "provider_unavailable",
    "fault-502": "provider_unavailable",
    "fault-503": "provider_unavailable",
    "fault-529": "provider_unavailable",
    "fault-error-502": "provider_unavailable",
    "fault-reset-after-0": "provider_unavailable",
    "fault-reset-after-5": "provider_unavailable",
    "fault-cut-after-0": "provider_unavailable",
    "fault-cut-after-5": "provider_unavailable",
    "fault-html": "provider_garbled",
    "fault-truncated": "truncated",
    "length": "too_long",
    "fault-endless": "too_long",
    "fault-endless-event": "provider_garbled",
    "fault-endless-bytes": "provider_garbled",
    "fault-endless-tool@1000": "too_long",
    "fault-endless-tool@0": "too_long",
    "fault-1mb": "too_long",
    "fault-hang": "timeout",
    "fault-hang-after-3": "timeout",
    "fault-drip@100": "timeout",
    "fault-keepalive": "timeout",
}
# What is read from the events that are not broken, but only unusual.
READABLE = {
    "surrogate": "\ufffd" * 3,
    "null": "",
    "choices-null": "",
    "delta-null": "",
    "content-number": "7",
    "content-list": "a",
    "tool-null": "",
}
LIMITS = Limits(seconds=2 * DEADLINE, characters=10_000, tokens=5_000)
ONE_ATTEMPT = Limits(seconds=DEADLINE, max_attempts=1)
SHORT = Limits(seconds=scaled(0.6), characters=10_000)


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only a few milliseconds between two attempts."""
    from agents.engine import answer_stream

    monkeypatch.setattr(answer_stream, "FIRST_BACKOFF_SECONDS", 0.005)


@pytest.mark.usefixtures("short_backoff")
@pytest.mark.parametrize("model", FAULTS)
async def test_a_fault_has_its_code_and_reveals_no_secret(
    provider: Provider, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = SHORT if FAULTS[model] == "timeout" else LIMITS
    async with asyncio.timeout(DEADLINE):
        with caplog.at_level(logging.DEBUG):
            result = await ask(persona(provider.base_url, model), limits=limits)

    assert result.failed is not None
    assert result.failed.code == FAULTS[model]
    for secret in (KEY, "127.0.0.1", str(provider.port), "host.internal", "Traceback"):
        assert secret not in repr(vars(result.failed))
        assert secret not in caplog.text or secret == str(provider.port)
    assert provider.hits == []  # the redirect was not followed


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_event_fails_only_the_answer(provider: Provider, name: str) -> None:
    result = await ask(persona(provider.base_url, f"fault-garbage-{name}"), limits=LIMITS)

    assert result.code == (None if name in READABLE else "provider_garbled")
    if name in READABLE:
        assert result.text == READABLE[name]


async def test_a_whole_json_answer_is_accepted(provider: Provider) -> None:
    result = await ask(persona(provider.base_url, "fault-json"))

    assert result.code is None
    assert result.text == "all at once"


async def test_a_closed_port_is_unavailable(provider: Provider, settings: Settings) -> None:
    with running() as stopped:
        address, base_url = stopped.address, stopped.base_url
    settings.EGRESS_ALLOW = frozenset({address})

    result = await ask(persona(base_url, "echo"), limits=ONE_ATTEMPT)

    assert result.code == "provider_unavailable"


async def test_a_host_without_an_address_is_unavailable(provider: Provider) -> None:
    result = await ask(persona("http://models.invalid/v1", "echo"), limits=ONE_ATTEMPT)

    assert result.code == "provider_unavailable"


async def test_a_host_without_tls_is_unavailable(provider: Provider) -> None:
    base_url = provider.base_url.replace("http:", "https:")

    result = await ask(persona(base_url, "echo"), limits=ONE_ATTEMPT)

    assert result.code == "provider_unavailable"


@pytest.mark.usefixtures("short_backoff")
@pytest.mark.parametrize("model", ["fault-429", "fault-500", "fault-reset-after-0"])
async def test_a_temporary_fault_gets_three_attempts(provider: Provider, model: str) -> None:
    await ask(persona(provider.base_url, model))

    assert len(provider.requests) == 3


@pytest.mark.usefixtures("short_backoff")
@pytest.mark.parametrize("model", ["fault-429-once", "fault-500-once"])
async def test_the_second_attempt_can_succeed(provider: Provider, model: str) -> None:
    result = await ask(persona(provider.base_url, model))

    assert result.text == "fine now"
    assert len(provider.requests) == 2


@pytest.mark.usefixtures("short_backoff")
@pytest.mark.parametrize(
    "model",
    ["fault-401", "fault-404", "fault-garbage-json", "fault-truncated", "fault-reset-after-5"],
)
async def test_a_permanent_fault_or_one_after_text_gets_one_attempt(
    provider: Provider, model: str
) -> None:
    result = await ask(persona(provider.base_url, model))

    assert result.failed is not None
    assert len(provider.requests) == 1


async def test_a_rate_limit_error_inside_the_stream_does_not_repeat_the_text(
    provider: Provider,
) -> None:
    result = await ask(persona(provider.base_url, "fault-error-429"))

    assert result.code == "provider_unavailable"
    assert result.text == "so "
    assert len(provider.requests) == 1


async def test_the_second_attempt_waits_for_the_backoff(provider: Provider) -> None:
    await ask(persona(provider.base_url, "fault-500-once"))

    first, second = (request.at for request in provider.requests)
    assert second - first >= 0.5


async def test_the_second_attempt_waits_for_retry_after(provider: Provider) -> None:
    await ask(
        persona(provider.base_url, "fault-429-retry-1"),
        limits=Limits(seconds=DEADLINE, max_attempts=2),
    )

    first, second = (request.at for request in provider.requests)
    assert second - first >= 1.0


@pytest.mark.parametrize(
    ("model", "seconds"),
    [
        pytest.param("fault-429-retry-100000", 1_000_000, id="above the maximum"),
        pytest.param("fault-429-retry-59", 50, id="after the time limit"),
    ],
)
async def test_a_retry_after_that_is_too_long_fails_at_once(
    provider: Provider, model: str, seconds: float
) -> None:
    async with asyncio.timeout(DEADLINE):
        result = await ask(persona(provider.base_url, model), limits=Limits(seconds=seconds))

    assert result.failed is not None
    assert result.failed.code == "provider_unavailable"
    assert result.failed.retry_after is not None
    assert len(provider.requests) == 1


async def test_a_refused_key_is_neither_shown_nor_logged(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        result = await ask(persona(provider.base_url, "echo", key="refused-CANARY-key"))

    assert result.failed is not None
    assert result.failed.reason == "key"
    assert "CANARY" not in repr(vars(result.failed)) + caplog.text


async def test_an_unexpected_exception_becomes_an_internal_failure(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.engine import crewai_adapter

    monkeypatch.setattr(crewai_adapter, "build_agent", lambda *_: 1 / 0)

    result = await ask(persona(provider.base_url, "echo"))

    assert result.code == "internal"


def test_every_failure_code_has_a_sentence() -> None:
    assert set(FAILURE_SENTENCES) == set(get_args(FailureCode))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("-3", 0.0), ("", None), ("soon", None), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert failures.parse_retry_after(httpx.Headers({"Retry-After": value})) == seconds
