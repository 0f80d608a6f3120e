"""Every way in which a provider misbehaves: which code the room is told, and nothing beyond it."""

import logging
from collections.abc import Iterator
from time import monotonic

import httpx
import pytest
from pytest_django.fixtures import Settings

from agents.engine import failures, warm
from agents.engine_types import FAILURE_CODES, SENTENCES, Limits
from tests.agents.engine.asking import KEY, ask, persona
from tests.provider import Provider, running
from tests.provider.faults import SHAPES

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
    "fault-json": "provider_garbled",
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
# Where the SDK finds nothing in an odd event, what is left is an answer without an end.
ALSO_TRUNCATED = {"choices-null", "tool-null"}
LIMITS = Limits(seconds=15, characters=10_000, tokens=5_000)
SHORT = Limits(seconds=0.6, characters=10_000)


@pytest.fixture(scope="module")
def served() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
async def provider(served: Provider, settings: Settings) -> Provider:
    settings.EGRESS_ALLOW = frozenset({served.address})
    served.forget()
    await warm()
    return served


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries, wait for hardly anything."""
    from agents.engine import answer_stream

    monkeypatch.setattr(answer_stream, "FIRST_WAIT", 0.005)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("model", FAULTS)
async def test_a_fault_has_its_code_and_tells_nothing_else(
    provider: Provider, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = SHORT if FAULTS[model] == "timeout" else LIMITS
    began = monotonic()

    with caplog.at_level(logging.DEBUG):
        heard = await ask(persona(provider.base_url, model), limits=limits)

    assert heard.failed is not None
    assert heard.failed.code == FAULTS[model]
    assert monotonic() - began < limits.seconds + 2
    for secret in (KEY, "127.0.0.1", str(provider.port), "host.internal", "Traceback"):
        assert secret not in heard.failed.detail
        assert secret not in caplog.text or secret == str(provider.port)
    assert provider.hits == []  # a redirect was not followed


@pytest.mark.parametrize("shape", SHAPES)
async def test_garbage_fails_the_answer_and_not_the_worker(provider: Provider, shape: str) -> None:
    heard = await ask(persona(provider.base_url, f"fault-garbage-{shape}"), limits=LIMITS)

    assert heard.code == ("truncated" if shape in ALSO_TRUNCATED else "provider_garbled")


async def test_nothing_listens_there(provider: Provider, settings: Settings) -> None:
    with running() as gone:
        address, base_url = gone.address, gone.base_url
    settings.EGRESS_ALLOW = frozenset({address})

    heard = await ask(persona(base_url, "echo"), limits=Limits(seconds=5, tries=1))

    assert heard.code == "provider_unavailable"


async def test_a_name_without_an_address(provider: Provider) -> None:
    heard = await ask(
        persona("http://models.invalid/v1", "echo"), limits=Limits(seconds=9, tries=1)
    )

    assert heard.code == "provider_unavailable"


async def test_a_host_that_does_not_speak_tls(provider: Provider) -> None:
    base_url = provider.base_url.replace("http:", "https:")

    heard = await ask(persona(base_url, "echo"), limits=Limits(seconds=5, tries=1))

    assert heard.code == "provider_unavailable"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("model", ["fault-429", "fault-500", "fault-reset-after-0"])
async def test_what_may_pass_is_tried_three_times(provider: Provider, model: str) -> None:
    await ask(persona(provider.base_url, model))

    assert len(provider.requests) == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("model", ["fault-429-once", "fault-500-once"])
async def test_the_second_try_may_answer(provider: Provider, model: str) -> None:
    heard = await ask(persona(provider.base_url, model))

    assert heard.text == "fine now"
    assert len(provider.requests) == 2


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "model",
    ["fault-401", "fault-404", "fault-garbage-json", "fault-truncated", "fault-reset-after-5"],
)
async def test_what_will_not_pass_or_was_seen_is_tried_once(provider: Provider, model: str) -> None:
    heard = await ask(persona(provider.base_url, model))

    assert heard.failed is not None
    assert len(provider.requests) == 1


async def test_a_rate_limit_inside_the_stream_does_not_start_the_text_anew(
    provider: Provider,
) -> None:
    heard = await ask(persona(provider.base_url, "fault-error-429"))

    assert heard.code == "provider_unavailable"
    assert heard.text == "so "
    assert len(provider.requests) == 1


async def test_there_is_a_pause_before_the_next_try(provider: Provider) -> None:
    await ask(persona(provider.base_url, "fault-500-once"))

    first, second = (request.at for request in provider.requests)
    assert second - first >= 0.5


async def test_retry_after_is_kept(provider: Provider) -> None:
    await ask(persona(provider.base_url, "fault-429-retry-1"), limits=Limits(seconds=9, tries=2))

    first, second = (request.at for request in provider.requests)
    assert second - first >= 1.0


@pytest.mark.parametrize(
    ("model", "seconds"), [("fault-429-retry-90", 300), ("fault-429-retry-9", 5)]
)
async def test_a_wait_beyond_patience_or_the_clock_is_not_begun(
    provider: Provider, model: str, seconds: float
) -> None:
    began = monotonic()

    heard = await ask(persona(provider.base_url, model), limits=Limits(seconds=seconds))

    assert heard.failed is not None
    assert heard.failed.code == "provider_unavailable"
    assert heard.failed.retry_after is not None
    assert monotonic() - began < 2
    assert len(provider.requests) == 1


async def test_a_refused_key_is_not_repeated_to_the_room(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        heard = await ask(persona(provider.base_url, "echo", key="refused-CANARY-key"))

    assert heard.failed is not None
    assert "key" in heard.failed.detail
    assert "CANARY" not in heard.failed.detail + caplog.text


async def test_no_exception_but_ours_leaves_the_engine(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.engine import crewai_adapter

    monkeypatch.setattr(crewai_adapter, "agent_for", lambda *_: 1 / 0)

    heard = await ask(persona(provider.base_url, "echo"))

    assert heard.code == "internal"


def test_every_code_has_its_sentence() -> None:
    assert set(SENTENCES) == FAILURE_CODES


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("-3", 0.0), ("", None), ("soon", None), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert failures.seconds_to_wait(httpx.Headers({"Retry-After": value})) == seconds
