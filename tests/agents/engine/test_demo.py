"""The demo connection: streams through the engine without a provider."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from time import monotonic

import pytest

from agents.engine import answer, warm
from agents.engine_types import Limits, Text
from rooms.markup import render
from tests.agents.engine.answers import PERSONA, ask, user_turn
from tests.deadlines import DEADLINE

DEMO = replace(PERSONA, kind="demo", model="", key="")


@pytest.fixture
async def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    await warm()
    from agents.engine.demo import DemoLLM

    monkeypatch.setattr(DemoLLM, "pause", 0)


@pytest.mark.usefixtures("without_pauses")
async def test_the_demo_explains_that_no_model_is_connected_and_where_to_connect_one() -> None:
    result = await ask(DEMO, "What grows in the shade?")

    assert result.failed is None
    assert "No model is connected" in result.text
    assert "Connections" in result.text
    assert "“What grows in the shade?”" in result.text
    assert result.finished is not None
    assert result.finished.text == result.text


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("question", ["Hello?", "안녕하세요?"])
async def test_the_demo_shows_a_table_and_code_and_links_to_the_steps(question: str) -> None:
    spec = replace(DEMO, connect_url="https://maru.example.com/steps/")

    result = await ask(spec, question)

    html = render(result.text)
    for part in ("<strong>", "<table>", "<pre", 'href="https://maru.example.com/steps/"'):
        assert part in html, part


@pytest.mark.usefixtures("without_pauses")
async def test_a_korean_question_gets_a_korean_answer() -> None:
    result = await ask(DEMO, "그늘에서 뭐가 자라요?")

    assert "연결된 모델이 없어서" in result.text
    assert "“그늘에서 뭐가 자라요?”" in result.text


@pytest.mark.usefixtures("without_pauses")
async def test_the_demo_streams_in_small_chunks() -> None:
    result = await ask(DEMO, "Hello?")

    assert 40 <= len(result.texts) <= 50
    assert max(map(len, result.texts)) < 25


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize(
    "question",
    ["<script>alert(1)</script>", "**bold** [link](http://x) @everyone `code`", "# a\n> b\n\n- c"],
)
async def test_the_quoted_question_is_plain_text(question: str) -> None:
    result = await ask(DEMO, question)

    quote = result.text.partition("“")[2].partition("”")[0]
    assert quote
    assert not set(quote) & set("<>*[]@`#_\n")


@pytest.mark.usefixtures("without_pauses")
async def test_a_particle_stays_joined_to_a_marked_word_in_the_quote() -> None:
    result = await ask(DEMO, "**마크다운(Markdown)**을 `코드`로")

    assert "마크다운(Markdown)을 코드로" in result.text


@pytest.mark.usefixtures("without_pauses")
async def test_a_long_question_is_quoted_in_part() -> None:
    result = await ask(DEMO, "why " * 1_000)

    assert "…”" in result.text
    assert len(result.text) < 1_000


async def test_closing_the_answer_interrupts_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    await warm()
    from agents.engine.demo import DemoLLM

    monkeypatch.setattr(DemoLLM, "pause", 3600)
    parts = answer(DEMO, [user_turn("Hello?")], limits=Limits())

    async with asyncio.timeout(DEADLINE), aclosing(parts):
        assert isinstance(await anext(parts), Text)


async def test_concurrent_demo_answers_keep_their_pauses() -> None:
    await warm()
    started = monotonic()

    answers = await asyncio.gather(*(ask(DEMO, f"CANARY-{number}") for number in range(20)))

    assert monotonic() - started > 0.5
    assert all(f"CANARY-{number}”" in result.text for number, result in enumerate(answers))
