"""The dialects of providers over real HTTP: each gives its answer, and nothing is lost."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest
from pytest_django.fixtures import Settings

from agents.engine import failures, http, thoughts
from agents.engine.stream.chat import ErrorReport
from agents.engine.stream.compression import Decompressor
from agents.engine.stream.think_tags import FIRST_HOLD_SECONDS
from agents.engine_types import Usage
from tests.agents.engine.answers import CollectedAnswer, ask, persona
from tests.agents.engine.stream.grammar import FIRST_SEED, Stream, generate
from tests.provider.dialects import DIALECTS, HALVES, STOP, TEXT, chunk, head, stream, texts
from tests.provider.http import HttpRequest
from tests.provider.raw import CUT, Step, playing

pytestmark = pytest.mark.usefixtures("crewai_imported", "short_backoff", "new_model")


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch, crewai_imported: None) -> None:
    """Wait only a few milliseconds between two attempts."""
    from agents.engine import answer_stream

    monkeypatch.setattr(answer_stream, "FIRST_BACKOFF_SECONDS", 0.005)


@pytest.fixture
def new_model(monkeypatch: pytest.MonkeyPatch, crewai_imported: None) -> None:
    """Hold the first text of each answer as that of a model that has not answered before."""
    monkeypatch.setattr(thoughts, "_hold_seconds", {})
    monkeypatch.setattr(thoughts, "HOLD_SECONDS", FIRST_HOLD_SECONDS)


async def ask_raw(settings: Settings, *responses: tuple[Step, ...]) -> tuple[CollectedAnswer, int]:
    """Return the answer of a provider that plays these responses, and the number of requests."""
    left = [*responses]
    async with playing(lambda _: left.pop(0) if len(left) > 1 else left[0]) as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        return await ask(persona(provider.base_url, "raw")), provider.requests


async def ask_each(
    settings: Settings, responses: Mapping[str, Sequence[Step]]
) -> dict[str, tuple[CollectedAnswer, int]]:
    """Return the answer to each response, and its number of requests; ask them all at once.

    The key of the connection selects the response.
    """
    names = [*responses]
    requests = Counter[str]()

    def choose(request: HttpRequest) -> Sequence[Step]:
        name = names[int(request.bearer)]
        requests[name] += 1
        return responses[name]

    async with playing(choose) as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        answers = await asyncio.gather(
            *(ask(persona(provider.base_url, "raw", key=str(key))) for key in range(len(names)))
        )
    return {name: (result, requests[name]) for name, result in zip(names, answers, strict=True)}


async def test_each_dialect_gives_its_answer(settings: Settings) -> None:
    answers = await ask_each(settings, {name: case.steps for name, case in DIALECTS.items()})

    found = {name: (result.text, result.code) for name, (result, _) in answers.items()}
    assert found == {name: (case.text, case.code) for name, case in DIALECTS.items()}
    for result, _ in answers.values():
        assert result.finished is None or result.finished.text == result.text


async def test_the_last_token_counts_of_the_stream_are_those_of_the_answer(
    settings: Settings,
) -> None:
    first, last = ({"usage": {"prompt_tokens": 7, "completion_tokens": n}} for n in (1, 3))

    result, _ = await ask_raw(settings, stream(HALVES[0] | first, STOP, {"choices": []} | last))

    assert result.finished is not None
    assert result.finished.usage == Usage(7, 3)


async def test_a_model_whose_thoughts_end_late_is_held_from_the_next_answer_on(
    settings: Settings,
) -> None:
    late = (*stream(*texts("secret\n")), 0.4, *stream(*texts("</think>\n", TEXT), STOP, start=b""))
    plain = stream(*HALVES, STOP)
    left = [late, late, plain, late]
    async with playing(lambda _: left.pop(0)) as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        answers = [await ask(persona(provider.base_url, "thoughtful")) for _ in range(4)]

    shown = f"secret\n</think>\n{TEXT}"
    assert [answer.text for answer in answers] == [shown, TEXT, TEXT, shown]


# Errors: what the provider reports, in the stream or as the body of an HTTP error, and its code.
ERRORS: dict[str, tuple[object, str]] = {
    "number": ({"error": {"code": 400}}, "provider_refused"),
    "number as text": ({"error": {"code": "503"}}, "provider_unavailable"),
    "status": ({"error": {"status_code": 401, "message": "no"}}, "provider_refused"),
    "quota": ({"error": {"code": "insufficient_quota"}}, "provider_refused"),
    "quota with 429": ({"error": {"code": 429, "type": "insufficient_quota"}}, "provider_refused"),
    "quota in camel case": ({"error": {"code": "InsufficientBalance"}}, "provider_refused"),
    "key": ({"error": {"code": "invalid_api_key", "type": "server_error"}}, "provider_refused"),
    "key with 500": ({"error": {"code": 500, "type": "authentication_error"}}, "provider_refused"),
    "model": ({"error": {"code": "model_not_found"}}, "provider_refused"),
    "request": ({"error": {"type": "invalid_request_error"}}, "provider_refused"),
    "filter": ({"error": {"code": "content_policy_violation"}}, "provider_refused"),
    "rate limit": ({"error": {"code": "rate_limit_exceeded"}}, "provider_unavailable"),
    "rate limit with 400": ({"error": {"code": 400, "type": "RateLimit"}}, "provider_refused"),
    "throttling": ({"error": {"code": "Throttling.AllocationQuota"}}, "provider_unavailable"),
    "overloaded": (
        {"type": "error", "error": {"type": "overloaded_error"}},
        "provider_unavailable",
    ),
    "object": ({"object": "error", "type": "PermissionDenied"}, "provider_refused"),
    "sentence": ({"error": "Incorrect API key provided"}, "provider_refused"),
    "message": ({"error": {"message": "You exceeded your current quota"}}, "provider_refused"),
    "unknown word": ({"error": {"code": "1302"}}, "provider_unavailable"),
    "list": ([{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}], "provider_refused"),
    "inside of the choice": (
        {"choices": [{"index": 0, "error": {"code": 402}, "finish_reason": "error"}]},
        "provider_refused",
    ),
    "nested": ({"error": {"error": {"code": "invalid_api_key"}}}, "provider_refused"),
    "flag": ({"error": True, "code": 401, "message": "no"}, "provider_refused"),
}


@pytest.mark.parametrize("prefix", ["data: ", "event: error\ndata: ", ""])
async def test_an_error_in_the_stream_is_judged_by_word_and_by_number(
    prefix: str, settings: Settings
) -> None:
    answers = await ask_each(
        settings, {name: stream(value, prefix=prefix) for name, (value, _) in ERRORS.items()}
    )

    found = {name: (result.code, requests) for name, (result, requests) in answers.items()}
    assert found == {
        name: (code, 1 if code == "provider_refused" else 3) for name, (_, code) in ERRORS.items()
    }


async def test_an_error_after_text_keeps_the_text_and_is_not_retried(settings: Settings) -> None:
    answers = await ask_each(
        settings, {name: stream(*HALVES, value) for name, (value, _) in ERRORS.items()}
    )

    found = {name: (each.code, each.text, requests) for name, (each, requests) in answers.items()}
    assert found == {name: (code, TEXT, 1) for name, (_, code) in ERRORS.items()}


async def test_generated_streams_give_their_text(settings: Settings) -> None:
    seeds = range(FIRST_SEED, FIRST_SEED + 200)
    streams = {str(seed): generate(seed) for seed in seeds}

    answers = await ask_each(settings, {name: steps_of(each) for name, each in streams.items()})

    found = {name: (each.text, each.code is None) for name, (each, _) in answers.items()}
    assert found == {name: (each.text, each.complete) for name, each in streams.items()}


def steps_of(stream: Stream) -> list[Step]:
    """Return the response of a generated stream."""
    end: list[Step] = [0.1, CUT] if stream.cut and not stream.encoding else []
    start = head("text/event-stream", f"Content-Encoding: {stream.encoding}")
    return [start, *stream.chunks, *end]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        ("429 Too Many", {"error": {"type": "insufficient_quota"}}, "provider_refused"),
        ("429 Too Many", {"error": {"type": "rate_limit_exceeded"}}, "provider_unavailable"),
        ("429 Too Many", "try later", "provider_unavailable"),
        ("500 Error", {"error": {"code": "invalid_api_key"}}, "provider_refused"),
        ("500 Error", {"code": "Arrearage", "message": "overdue"}, "provider_refused"),
        ("400 Bad", {"error": {"code": "rate_limit_exceeded"}}, "provider_refused"),
        ("404 Not Found", {"error": {"code": "model_unavailable"}}, "provider_refused"),
        ("409 Conflict", {"error": {"code": "model_busy"}}, "provider_unavailable"),
        ("400 Bad", {"error": {"message": "context too long"}}, "provider_refused"),
        ("402 Pay", "", "provider_refused"),
        ("503 Busy", [{"error": {"code": 503, "status": "UNAVAILABLE"}}], "provider_unavailable"),
        ("503 Busy", "<html>{", "provider_unavailable"),
    ],
)
async def test_an_http_error_is_judged_by_its_body_and_by_its_status(
    status: str, body: object, code: str, settings: Settings
) -> None:
    data = body if isinstance(body, str) else json.dumps(body)
    start = head("application/json", status=status)

    result, requests = await ask_raw(settings, (start, data.encode()))

    assert result.code == code
    assert requests == (1 if code == "provider_refused" else 3)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_busy_word_does_not_override_a_status_that_refuses(status: int) -> None:
    words = ("model_unavailable", "RateLimit", "overloaded_error", "credits_exhausted", "timeout")

    for word in words:
        reported = ErrorReport(status, (word,)), ErrorReport(None, (word,))
        assert failures.from_error(reported[0], 200).code == "provider_refused"
        assert failures.from_error(reported[1], status).code == "provider_refused"


@pytest.mark.parametrize("encoding", ["deflate", "gzip", "identity", "br"])
@pytest.mark.parametrize("body", [b"", b"Bad", b"Bad Gateway", b"\x1f\x8b", b"Bad Gateway" * 9])
async def test_an_error_body_that_cannot_be_decompressed_leaves_the_status_to_decide(
    encoding: str, body: bytes, settings: Settings
) -> None:
    start = head("text/plain", f"Content-Encoding: {encoding}", status="503 Busy")

    result, requests = await ask_raw(settings, (start, body), stream(*HALVES, STOP))

    assert (result.text, result.code, requests) == (TEXT, None, 2)


async def test_a_compressed_error_body_is_read_up_to_its_limit_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    feed = Decompressor.feed

    def feed_and_count(self: Decompressor, data: bytes) -> Iterator[bytes]:
        for piece in feed(self, data):
            sizes.append(len(piece))
            yield piece

    monkeypatch.setattr(Decompressor, "feed", feed_and_count)
    start = head("text/plain", "Content-Encoding: gzip", status="401 No")

    result, _ = await ask_raw(settings, (start, gzip.compress(b" " * 2**24)))

    assert result.code == "provider_refused"
    assert sum(sizes) <= 2 * 64 * 1024


async def test_the_body_of_an_http_error_is_not_awaited_for_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ERROR_SECONDS", 0.01)

    result, _ = await ask_raw(settings, (head(status="401 No"), b'{"error"', "hold"))

    assert result.code == "provider_refused"


@pytest.mark.parametrize("reason", ["error", "network_error"])
async def test_an_error_without_text_is_retried(reason: str, settings: Settings) -> None:
    failed, complete = stream(chunk({}, reason)), stream(*HALVES, STOP)

    result, requests = await ask_raw(settings, failed, complete)

    assert (result.text, result.code, requests) == (TEXT, None, 2)


async def test_a_connection_that_breaks_before_the_text_is_retried(settings: Settings) -> None:
    result, requests = await ask_raw(settings, (head(), CUT), stream(*HALVES, STOP))

    assert (result.text, result.code, requests) == (TEXT, None, 2)


async def test_an_open_connection_is_closed_a_second_after_the_finish_reason(
    settings: Settings,
) -> None:
    started_at = asyncio.get_running_loop().time()

    result, _ = await ask_raw(settings, DIALECTS["open after the reason"].steps)

    assert result.text == TEXT
    assert asyncio.get_running_loop().time() - started_at >= 1.0


@pytest.mark.parametrize(
    ("text", "next_hold"), [("plain", 0.0), ("secret\n</think>\nanswer", None), ("", 1.0)]
)
def test_hold_of_the_first_text_follows_the_last_answer_of_the_model(
    text: str, next_hold: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thoughts, "FIRST_HOLD_SECONDS", 1.0)
    monkeypatch.setattr(thoughts, "HOLD_SECONDS", 0.0)
    model = persona("http://127.0.0.1/v1", "raw")
    with thoughts.thought_filter(model) as first:
        for piece in text:
            first.feed(piece)
            first.end_hold()  # the time is over: later text is not held

    with thoughts.thought_filter(model) as second:
        held = (first.hold_seconds, second.hold_seconds)

    assert held == (1.0, next_hold)
