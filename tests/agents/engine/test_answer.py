"""The engine against a provider over real HTTP: what comes out, what goes in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing

import pytest
from pytest_django.fixtures import Settings

from agents import engine
from agents.engine import answer
from agents.engine.surrogates import Cleaner
from agents.engine_types import MOST_TOKENS, Finished, Limits, Text, Usage
from tests.agents.engine.asking import KEY, ask, persona, said
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


async def test_pieces_come_in_order_and_end_with_the_whole_text(provider: Provider) -> None:
    heard = await ask(persona(provider.base_url, "tokens-30@0"))

    assert heard.text == "".join(f"t{n} " for n in range(30))
    assert heard.finished is not None
    assert heard.finished.text == heard.text
    assert heard.finished.usage is not None
    assert heard.finished.usage.output_tokens == 31


async def test_the_first_piece_comes_before_the_last_is_made(provider: Provider) -> None:
    spec = persona(provider.base_url, "fault-hang-after-3")

    async with aclosing(answer(spec, [said("?")], limits=Limits(seconds=20))) as parts:
        first = await anext(parts)

    assert isinstance(first, Text)
    assert first.text.startswith("t0 ")


async def test_warm_does_not_replace_the_function_answer_by_a_module() -> None:
    await engine.warm()

    assert engine.answer is answer


async def test_an_empty_answer_is_finished_and_silent(provider: Provider) -> None:
    heard = await ask(persona(provider.base_url, "fault-empty"))

    assert heard.failed is None
    assert heard.finished is not None
    assert heard.finished.text == ""


async def test_what_a_model_thinks_is_not_what_it_says(provider: Provider) -> None:
    heard = await ask(persona(provider.base_url, "reasoning"))

    assert heard.text == "the answer"


@pytest.mark.parametrize("model", ["usage-with-finish", "usage-always"])
async def test_usage_beside_text_costs_neither_text_nor_end(provider: Provider, model: str) -> None:
    heard = await ask(persona(provider.base_url, model))

    assert heard.failed is None
    assert heard.text == "four words in all"
    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("odd", "kept"),
    [("huge", MOST_TOKENS), ("beyond", MOST_TOKENS), ("negative", 0), ("word", 0), ("list", 0)],
)
async def test_usage_that_cannot_be_is_kept_as_near_as_it_can(
    provider: Provider, odd: str, kept: int
) -> None:
    heard = await ask(persona(provider.base_url, f"usage-odd-{odd}"))

    assert heard.finished is not None
    assert heard.finished == Finished("four words in all", Usage(kept, kept))


async def test_an_answer_of_too_many_tokens_is_cut_off(provider: Provider) -> None:
    heard = await ask(persona(provider.base_url, "tokens-30@0"), limits=Limits(tokens=10))

    assert heard.code == "too_long"
    assert heard.text
    assert "".join(f"t{n} " for n in range(10)).startswith(heard.text)


async def test_the_persona_decides_temperature_and_length(provider: Provider) -> None:
    spec = persona(provider.base_url, "openai/echo", temperature=0.25, max_output_tokens=77)

    await ask(spec)

    body = provider.requests[0].body
    assert body["model"] == "openai/echo"
    assert (body["temperature"], body["max_tokens"]) == (0.25, 77)


async def test_nothing_of_this_machine_goes_to_the_provider(
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


async def test_a_connection_without_a_key_borrows_none(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")

    await ask(persona(provider.base_url, "tokens-2", key=""))

    assert "authorization" not in provider.requests[0].headers


async def test_a_changed_key_is_used_at_once(provider: Provider) -> None:
    await ask(persona(provider.base_url, "tokens-3", key="old"))
    await ask(persona(provider.base_url, "tokens-3", key="new"))

    shown = [request.headers["authorization"] for request in provider.requests]
    assert shown == ["Bearer old", "Bearer new"]


def test_a_persona_shows_its_key_to_nobody() -> None:
    assert KEY not in repr(persona("https://models.example/v1", "echo"))


def test_a_pair_cut_in_two_is_joined_and_half_a_pair_replaced() -> None:
    cleaner = Cleaner()

    told = [cleaner.clean(piece) for piece in ("a\ud83d", "\ude00b", "c\ud83d", "d\0", "\ud83d")]

    assert "".join([*told, cleaner.rest()]) == "a😀bc\ufffdd\ufffd\ufffd"


def test_importing_the_engine_does_not_import_crewai() -> None:
    modules = "agents.engine, agents.engine_types, agents.egress.guard"
    code = f"import django, sys; django.setup(); import {modules}, agents.services; "
    code += "sys.exit(any(name.partition('.')[0] == 'crewai' for name in sys.modules))"

    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ".:platform"}, check=False
    )

    assert ended.returncode == 0
