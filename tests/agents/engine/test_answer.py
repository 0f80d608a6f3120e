"""The engine against a provider over real HTTP: the parts of an answer and the request."""

import os
import subprocess
import sys
from contextlib import aclosing

import pytest

from agents import engine
from agents.engine import answer
from agents.engine_types import MAX_TOKEN_COUNT, Finished, Limits, Text, Usage
from tests.agents.engine.answers import KEY, ask, persona, user_turn
from tests.deadlines import DEADLINE
from tests.provider import Provider


async def test_parts_arrive_in_order_and_finished_has_the_whole_text(provider: Provider) -> None:
    result = await ask(persona(provider.base_url, "tokens-30@0"))

    assert result.text == "".join(f"t{n} " for n in range(30))
    assert result.finished is not None
    assert result.finished.text == result.text
    assert result.finished.usage is not None
    assert result.finished.usage.output_tokens == 31


async def test_the_first_text_arrives_before_the_provider_sends_the_last(
    provider: Provider,
) -> None:
    spec = persona(provider.base_url, "fault-hang-after-3")

    async with aclosing(answer(spec, [user_turn("?")], limits=Limits(seconds=DEADLINE))) as parts:
        first = await anext(parts)

    assert isinstance(first, Text)
    assert first.text.startswith("t0 ")


async def test_warm_does_not_replace_the_function_answer_by_a_module() -> None:
    await engine.warm()

    assert engine.answer is answer


async def test_an_empty_answer_finishes_with_empty_text(provider: Provider) -> None:
    result = await ask(persona(provider.base_url, "fault-empty"))

    assert result.failed is None
    assert result.finished is not None
    assert result.finished.text == ""


async def test_reasoning_is_not_part_of_the_answer(provider: Provider) -> None:
    result = await ask(persona(provider.base_url, "reasoning"))

    assert result.text == "the answer"


@pytest.mark.parametrize("model", ["usage-with-finish", "usage-always"])
async def test_usage_in_a_text_event_loses_neither_text_nor_finish_reason(
    provider: Provider, model: str
) -> None:
    result = await ask(persona(provider.base_url, model))

    assert result.failed is None
    assert result.text == "four words in all"
    assert result.finished is not None
    assert result.finished.usage is not None
    assert result.finished.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("count", "stored"),
    [
        ("huge", MAX_TOKEN_COUNT),
        ("beyond", MAX_TOKEN_COUNT),
        ("negative", 0),
        ("word", 0),
        ("list", 0),
    ],
)
async def test_an_invalid_token_count_is_clamped(
    provider: Provider, count: str, stored: int
) -> None:
    result = await ask(persona(provider.base_url, f"usage-odd-{count}"))

    assert result.finished is not None
    assert result.finished == Finished("four words in all", Usage(stored, stored))


async def test_an_answer_above_the_token_limit_is_cut_off(provider: Provider) -> None:
    result = await ask(persona(provider.base_url, "tokens-30@0"), limits=Limits(tokens=10))

    assert result.code == "too_long"
    assert result.text
    assert "".join(f"t{n} " for n in range(30)).startswith(result.text)


async def test_the_request_has_the_temperature_and_length_of_the_persona(
    provider: Provider,
) -> None:
    spec = persona(provider.base_url, "openai/echo", temperature=0.25, max_output_tokens=77)

    await ask(spec)

    body = provider.requests[0].body
    assert body["model"] == "openai/echo"
    assert (body["temperature"], body["max_tokens"]) == (0.25, 77)


async def test_the_request_has_no_headers_of_this_machine_or_operator(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-operator")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")

    await ask(persona(provider.base_url, "tokens-1"))

    assert provider.requests[0].headers == {
        "host": provider.address,
        "accept": "application/json",
        "content-type": "application/json",
        "content-length": provider.requests[0].headers["content-length"],
        "user-agent": "Maru",
        "accept-encoding": "identity",
        "connection": "close",
        "authorization": f"Bearer {KEY}",
    }


async def test_without_a_key_the_request_has_no_authorization_header(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")

    await ask(persona(provider.base_url, "tokens-2", key=""))

    assert "authorization" not in provider.requests[0].headers


async def test_the_next_answer_uses_a_changed_key(provider: Provider) -> None:
    await ask(persona(provider.base_url, "tokens-3", key="old"))
    await ask(persona(provider.base_url, "tokens-3", key="new"))

    sent = [request.headers["authorization"] for request in provider.requests]
    assert sent == ["Bearer old", "Bearer new"]


def test_the_repr_of_a_persona_has_no_key() -> None:
    assert KEY not in repr(persona("https://models.example/v1", "echo"))


def test_importing_the_engine_does_not_import_crewai() -> None:
    modules = "agents.engine, agents.engine_types, agents.egress.guard"
    code = f"import django, sys; django.setup(); import {modules}, agents.services; "
    code += "sys.exit(any(name.partition('.')[0] == 'crewai' for name in sys.modules))"

    process = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ".:platform"}, check=False
    )

    assert process.returncode == 0
