"""The demo connection: the engine's own way, without a provider and without pretence."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from time import monotonic

import pytest

from agents.engine import answer, warm
from agents.engine_types import Limits, Text
from tests.agents.engine.asking import PERSONA, ask, said

DEMO = replace(PERSONA, kind="demo", model="", key="")


@pytest.fixture
async def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    await warm()
    from agents.engine.demo import DemoLLM

    monkeypatch.setattr(DemoLLM, "pause", 0)


@pytest.mark.usefixtures("hurried")
async def test_it_says_that_no_model_is_connected_and_where_to_connect_one() -> None:
    heard = await ask(DEMO, "What grows in the shade?")

    assert heard.failed is None
    assert "no model is connected" in heard.text
    assert "Connections" in heard.text
    assert "“What grows in the shade?”" in heard.text
    assert heard.finished is not None
    assert heard.finished.text == heard.text


@pytest.mark.usefixtures("hurried")
async def test_it_answers_korean_in_korean() -> None:
    heard = await ask(DEMO, "그늘에서 뭐가 자라요?")

    assert "연결된 모델이 없어서" in heard.text
    assert "“그늘에서 뭐가 자라요?”" in heard.text


@pytest.mark.usefixtures("hurried")
async def test_it_streams_in_small_pieces() -> None:
    heard = await ask(DEMO, "Hello?")

    assert 20 <= len(heard.pieces) <= 30
    assert max(map(len, heard.pieces)) < 25


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "question",
    ["<script>alert(1)</script>", "**bold** [link](http://x) @everyone `code`", "# a\n> b\n\n- c"],
)
async def test_what_it_quotes_is_plain_text(question: str) -> None:
    heard = await ask(DEMO, question)

    quote = heard.text.partition("“")[2].partition("”")[0]
    assert quote
    assert not set(quote) & set("<>*[]@`#_\n")


@pytest.mark.usefixtures("hurried")
async def test_a_long_question_is_quoted_by_its_beginning() -> None:
    heard = await ask(DEMO, "why " * 1_000)

    assert "…”" in heard.text
    assert len(heard.text) < 500


async def test_it_stops_at_once() -> None:
    await warm()
    parts = answer(DEMO, [said("Hello?")], limits=Limits())
    async with aclosing(parts):
        assert isinstance(await anext(parts), Text)
        began = monotonic()

    assert monotonic() - began < 0.5


async def test_a_natural_pace_is_kept_by_many_at_once() -> None:
    await warm()
    began = monotonic()

    answers = await asyncio.gather(*(ask(DEMO, f"CANARY-{number}") for number in range(20)))

    assert monotonic() - began > 0.5
    assert all(f"CANARY-{number}”" in heard.text for number, heard in enumerate(answers))
