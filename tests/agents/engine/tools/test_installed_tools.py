"""Tools that an operator has installed: how they run, and what becomes of what they return."""

import asyncio
import time

import pytest
from pytest_django.fixtures import Settings

from agents.engine_types import Limits
from agents.tool_types import MAX_RESULT, MAX_STORED_RESULT
from tests.agents.engine.answers import KEY
from tests.agents.engine.tools.acting import Stage, tool
from tests.deadlines import DEADLINE
from tests.provider import Provider

MODULE = "tests.agents.engine.tools.installed"
NAMES = ("Doubling", "AsyncDoubling", "greet", "Answering")


@pytest.fixture(autouse=True)
def _named_by_the_operator(settings: Settings) -> None:
    settings.TOOLS = tuple(f"{MODULE}:{name}" for name in NAMES)


def stage_with(provider: Provider, name: str) -> Stage:
    return Stage(provider, (tool(source="installed", key=f"{MODULE}:{name}"),))


async def test_a_blocking_tool_runs_in_a_thread_of_its_own_pool(provider: Provider) -> None:
    from tests.agents.engine.tools import installed

    installed.THREADS.clear()
    stage = stage_with(provider, "Doubling")

    await stage.ask('USE look {"number": 21}')

    assert stage.tool_messages() == ["[result of look]\n42"]
    assert [name.rpartition("_")[0] for name in installed.THREADS] == ["tool"]


async def test_an_async_tool_runs_on_the_event_loop(provider: Provider) -> None:
    from tests.agents.engine.tools import installed

    installed.THREADS.clear()
    stage = stage_with(provider, "AsyncDoubling")

    await stage.ask('USE look {"number": 21}')

    assert stage.tool_messages() == ['[result of look]\n{"double": 42}']
    assert installed.THREADS == ["MainThread"]


async def test_a_decorated_function_is_a_tool(provider: Provider) -> None:
    stage = stage_with(provider, "greet")

    await stage.ask('USE look {"name": "Dana"}')

    assert stage.tool_messages() == ["[result of look]\nHello, Dana!"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("none", "[result of look]\nnull"),
        ("model", '[result of look]\n{"name": "방"}'),
        ("list", '[result of look]\n[1, "b"]'),
        ("failure", "[failure of look]\nNothing found."),
        ("control", "[result of look]\nab[31mc\N{REPLACEMENT CHARACTER}\nde" + "f\tg"),
        ("object", "[failure of look]\nThe tool returned something that is not text."),
        ("bytes", "[failure of look]\nThe tool returned something that is not text."),
        ("cycle", "[failure of look]\nThe tool returned something that is not text."),
        ("error", "[failure of look]\nThe tool failed."),
        ("exit", "[failure of look]\nThe tool failed."),
    ],
)
async def test_what_a_tool_returns_or_raises_becomes_a_clean_text(
    provider: Provider, caplog: pytest.LogCaptureFixture, kind: str, told: str
) -> None:
    stage = stage_with(provider, "Answering")

    result = await stage.ask(f'USE look {{"kind": "{kind}"}}\nTEXT End.')

    assert result.text == "End. "
    assert stage.tool_messages() == [told]
    assert KEY not in caplog.text + str(result.journal.results)


async def test_a_long_result_is_cut_for_the_store_and_for_the_model(provider: Provider) -> None:
    stage = stage_with(provider, "Answering")

    result = await stage.ask('USE look {"kind": "huge"}')

    (stored,) = result.journal.results.values()
    assert len(stored.text) == MAX_STORED_RESULT
    (told,) = stage.tool_messages()
    assert MAX_RESULT < len(told) < MAX_RESULT + 100


@pytest.mark.parametrize("name", ["NOT_A_TOOL", "Missing"])
async def test_a_path_without_a_tool_is_a_failed_call(provider: Provider, name: str) -> None:
    stage = stage_with(provider, name)

    await stage.ask("USE look {}")

    assert stage.tool_messages() == ["[failure of look]\nThe tool failed."]


async def test_wrong_arguments_are_a_failed_call_without_the_words_of_the_library(
    provider: Provider,
) -> None:
    stage = stage_with(provider, "Doubling")

    await stage.ask('USE look {"number": "x"}')

    assert stage.tool_messages() == ["[failure of look]\nThe tool did not accept these arguments."]


async def test_a_blocked_thread_holds_neither_its_answer_nor_a_stop(provider: Provider) -> None:
    from tests.agents.engine.tools import installed

    installed.BLOCKED.clear()
    stage = stage_with(provider, "Answering")
    script = 'USE look {"kind": "block"}\nTEXT So.'
    try:
        stopped = asyncio.create_task(stage.ask(script))
        assert await provider.until(lambda provider: bool(provider.requests))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        stopped.cancel()
        await asyncio.wait({stopped}, timeout=DEADLINE)
        seconds = time.monotonic() - began

        stage.limits = Limits(seconds=4 * DEADLINE, call_seconds=0.05)
        result = await stage.ask(script)
    finally:
        installed.BLOCKED.set()

    assert stopped.cancelled()
    assert seconds < 1
    assert result.text == "So. "
