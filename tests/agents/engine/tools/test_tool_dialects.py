"""The tool calls of each dialect over real HTTP: each is executed once, as the model meant it."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from agents.engine_types import Usage
from agents.tool_types import ToolResult
from tests.agents.engine.tools.acting import ActingAnswer, Stage, tool
from tests.provider.http import HttpRequest
from tests.provider.raw import RawProvider, Step, playing
from tests.provider.tool_dialects import (
    ANSWERED,
    ENCODED,
    SIGNATURES,
    THINKING,
    TOOL_DIALECTS,
    TWO,
    ToolDialect,
    calls,
    dialect,
    fragment,
)

pytestmark = pytest.mark.usefixtures("crewai_imported")
TOOLS = (tool("look"), tool("find"))


class RawStage(Stage):
    """A stage at a raw provider, which records the calls that are executed."""

    def __init__(self, provider: RawProvider, key: str) -> None:
        super().__init__(provider, TOOLS, model="raw")  # type: ignore[arg-type]  # has its base_url
        self.spec_changes = {"key": key}
        self.executed: list[tuple[str, Any]] = []
        self.functions = {"look": self._record("look"), "find": self._record("find")}

    def _record(self, name: str) -> Callable[[dict[str, Any]], Any]:
        async def work(arguments: dict[str, Any]) -> ToolResult:
            self.executed.append((name, arguments))
            return ToolResult("ok")

        return work


async def ask_each(
    settings: Settings, cases: dict[str, ToolDialect]
) -> dict[str, tuple[ActingAnswer, list[tuple[str, Any]], list[dict[str, Any]]]]:
    """Return for each case its answer, its executed calls, and the messages of its last request."""
    names = [*cases]
    requests: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def choose(request: HttpRequest) -> Sequence[Step]:
        name = names[int(request.bearer)]
        requests[name].append(request.json())
        return cases[name].steps if len(requests[name]) == 1 else ANSWERED

    async with playing(choose) as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        stages = [RawStage(provider, str(number)) for number in range(len(names))]
        answers = await asyncio.gather(*(stage.ask("Hello?") for stage in stages))
    return {
        name: (answer, stage.executed, requests[name][-1]["messages"])
        for name, answer, stage in zip(names, answers, stages, strict=True)
    }


async def test_each_dialect_gives_its_text_and_its_calls(settings: Settings) -> None:
    answers = await ask_each(settings, TOOL_DIALECTS)

    for name, case in TOOL_DIALECTS.items():
        answer, executed, _ = answers[name]
        assert answer.code is None, name
        assert answer.text == f"{case.text}\n\nDone.", name
        runnable = [call for call in case.expected if call[1] is not None]
        assert sorted(executed, key=str) == sorted(runnable, key=str), name


async def test_the_next_request_has_each_call_once_with_its_own_id_and_result(
    settings: Settings,
) -> None:
    answers = await ask_each(settings, TOOL_DIALECTS)

    for name, case in TOOL_DIALECTS.items():
        _, _, messages = answers[name]
        request, *results = messages[-1 - len(case.expected) :]
        told = [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in request["tool_calls"]
        ]
        assert told == [(tool_name, arguments or {}) for tool_name, arguments in case.expected], (
            name
        )
        ids = [call["id"] for call in request["tool_calls"]]
        assert ids == [result["tool_call_id"] for result in results], name
        assert len({*ids} - {"", None}) == len(ids), name
        kinds = ["failure" if call[1] is None else "result" for call in case.expected]
        assert [result["content"].split()[0] for result in results] == [f"[{k}" for k in kinds]


async def test_the_next_request_has_what_the_provider_wants_back(settings: Settings) -> None:
    answers = await ask_each(settings, THINKING)

    reasoned, signed = (answers[name][2][-3] for name in ("reasoning", "signatures"))
    assert reasoned["reasoning_content"] == "First I look."
    assert [call.get("extra_content") for call in signed["tool_calls"]] == SIGNATURES
    assert "reasoning_content" not in signed
    assert not [call for call in reasoned["tool_calls"] if "extra_content" in call]


async def test_usage_of_other_formats_is_counted(settings: Settings) -> None:
    names = ("Anthropic's events", "Anthropic's whole message", "Gemini's parts")

    answers = await ask_each(settings, {name: TOOL_DIALECTS[name] for name in names})

    usages = {name: answer.last.usage for name, (answer, _, _) in answers.items()}
    assert usages == dict.fromkeys(names, Usage(14, 6))


async def test_arguments_may_be_cut_at_any_character(settings: Settings) -> None:
    look, find = ENCODED
    cases = {
        str(position): dialect(
            calls(fragment("look", look[:position], index=0, id="x")),
            calls(fragment(None, look[position:], index=0)),
            calls(fragment("find", find, index=1, id="y")),
        )
        for position in range(len(look) + 1)
    }

    answers = await ask_each(settings, cases)

    assert [sorted(executed, key=str) for _, executed, _ in answers.values()] == [
        sorted(TWO, key=str)
    ] * len(cases)


async def test_a_pair_of_surrogates_may_be_cut_and_an_id_may_be_unusable(
    settings: Settings,
) -> None:
    case = dialect(
        json.dumps(calls(fragment("look", '{"q": "\ud83d', index=0, id="\ud83d"))),
        json.dumps(calls(fragment(None, '\ude00"}', index=0))),
    )

    ((answer, executed, sent),) = (await ask_each(settings, {"cut": case})).values()

    assert executed == [("look", {"q": "😀"})]
    assert answer.code is None
    assert "call_0_0" in str(sent)


@pytest.mark.parametrize("seed", range(3))
async def test_a_response_may_be_cut_at_any_byte(settings: Settings, seed: int) -> None:
    """Send the bytes of each dialect in pieces of random sizes; the first seed sends each alone."""
    choice = random.Random(seed)
    cases = {
        name: ToolDialect(
            tuple(_pieces(case.steps, choice if seed else None)), case.text, case.calls
        )
        for name, case in TOOL_DIALECTS.items()
        if name not in ("too long", "deeply nested")
    }

    answers = await ask_each(settings, cases)

    for name, case in cases.items():
        answer, executed, _ = answers[name]
        runnable = [call for call in case.expected if call[1] is not None]
        assert (answer.code, sorted(executed, key=str)) == (None, sorted(runnable, key=str)), name


def _pieces(steps: Sequence[Step], choice: random.Random | None) -> list[bytes]:
    head, *events = [step for step in steps if isinstance(step, bytes)]
    body, pieces = b"".join(events), [head]
    while body:
        size = choice.randint(1, 40) if choice else 1
        pieces.append(body[:size])
        body = body[size:]
    return pieces


async def test_a_response_that_is_cut_executes_no_call(settings: Settings) -> None:
    """Cut the body of a response at many of its bytes before the finish reason."""
    steps = TOOL_DIALECTS["numbered"].steps
    head, body = steps[0], b"".join(step for step in steps[1:] if isinstance(step, bytes))
    end = body.index(b'"finish_reason": "tool_calls"')
    cuts = {str(at): ToolDialect((head, body[:at])) for at in range(0, end, 31)}

    answers = await ask_each(settings, cuts)

    assert {answer.code for answer, _, _ in answers.values()} == {"truncated"}
    assert not [call for _, executed, _ in answers.values() for call in executed]
