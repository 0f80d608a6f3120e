"""An answer that waits, or whose worker died, goes on without repeating anything."""

from dataclasses import replace
from typing import Any

from agents.engine_types import Finished, Limits, Suspended
from agents.tool_types import CallStateName, ToolResult
from tests.agents.engine.tools.acting import MemoryJournal, Stage, echo, forever, line, tool
from tests.deadlines import DEADLINE
from tests.provider import Provider

TWO = (tool("look"), tool("send"))
SCRIPT = 'TEXT One.\nUSE look {"a": 1} & send {"b": 2}\nTEXT Two.'


async def _waiting(stage: Stage) -> MemoryJournal:
    """Ask with SCRIPT until `send` waits for people."""
    journal = MemoryJournal({"send": "asked"})
    result = await stage.ask(SCRIPT, journal)
    assert result.last == Suspended("One. ", result.last.usage)
    return journal


async def test_an_answer_waits_after_the_calls_that_may_run(provider: Provider) -> None:
    stage = Stage(provider, TWO, {"send": forever})

    journal = await _waiting(stage)

    assert journal.state_of("look") == "done"
    assert journal.state_of("send") == "asked"
    assert len(provider.requests) == 1


async def test_an_allowed_call_runs_once_and_no_request_is_repeated(provider: Provider) -> None:
    stage = Stage(provider, TWO)
    journal = await _waiting(stage)
    journal.states[journal.calls("send")[0].id] = "allowed"
    journal.events.clear()

    result = await stage.ask(SCRIPT, journal, journal.past())

    assert result.text == "One. \n\nTwo. "
    assert isinstance(result.last, Finished)
    assert journal.events == ["begin send", "finish send", "steering 0", "steering 1 final"]
    assert len(provider.requests) == 2
    assert stage.tool_messages() == ["[result of look]\n{'a': 1}", "[result of send]\n{'b': 2}"]


async def test_a_denied_call_is_not_executed(provider: Provider) -> None:
    stage = Stage(provider, TWO, {"send": forever})
    journal = await _waiting(stage)
    call = journal.calls("send")[0].id
    journal.states[call] = "denied"
    journal.results[call] = ToolResult("not today", failed=True)

    result = await stage.ask(SCRIPT, journal, journal.past())

    assert result.text == "One. \n\nTwo. "
    assert stage.tool_messages()[1].startswith("[failure of send]\nThis call was not allowed")
    assert stage.tool_messages()[1].endswith("executed. not today")


async def test_an_answer_with_an_undecided_call_waits_again(provider: Provider) -> None:
    stage = Stage(provider, TWO)
    journal = await _waiting(stage)

    result = await stage.ask(SCRIPT, journal, journal.past())

    assert isinstance(result.last, Suspended)
    assert len(provider.requests) == 1


async def test_a_tool_whose_result_comes_later_makes_the_answer_wait(provider: Provider) -> None:
    async def later(_arguments: dict[str, Any]) -> None:
        return None

    stage = Stage(provider, TWO, {"send": later})
    journal = MemoryJournal()

    first = await stage.ask(SCRIPT, journal)
    call = journal.calls("send")[0].id
    state = journal.states[call]
    journal.states[call], journal.results[call] = "done", ToolResult("sent")
    second = await stage.ask(SCRIPT, journal, journal.past())

    assert (type(first.last), state) == (Suspended, "running")
    assert second.text == "One. \n\nTwo. "
    assert stage.tool_messages()[1] == "[result of send]\nsent"


async def test_a_call_of_unknown_effect_is_reported_and_not_repeated(provider: Provider) -> None:
    stage = Stage(provider, TWO)
    journal = await _waiting(stage)
    call = journal.calls("send")[0].id
    journal.states[call] = "unknown"
    journal.events.clear()

    await stage.ask(SCRIPT, journal, journal.past())

    assert "begin send" not in journal.events
    assert "not known whether the call had an effect" in stage.tool_messages()[1]


async def test_the_prompt_after_a_resume_is_that_of_an_answer_that_did_not_wait(
    provider: Provider,
) -> None:
    def journal(policy: dict[str, CallStateName]) -> MemoryJournal:
        return MemoryJournal(policy, before={0: [line("Only Korean.")]}, after={1: [line("More.")]})

    stage = Stage(provider, TWO)
    script = f"THINK Hm.\n{SCRIPT}\nUSE look {{}}"
    await stage.ask(script, journal({}))
    straight = provider.requests[-1].messages
    provider.clear()

    waited = journal({"send": "asked"})
    await stage.ask(script, waited)
    waited.states[waited.calls("send")[0].id] = "allowed"
    await stage.ask(script, waited, waited.past())
    await stage.ask(script, waited, waited.past())

    assert provider.requests[-1].messages == straight
    assert len(straight) > 7
    assert [message.get("reasoning_content") for message in straight].count("Hm.") == 1


async def test_limits_count_the_requests_and_calls_of_former_attempts(provider: Provider) -> None:
    stage = Stage(provider, TWO, limits=Limits(seconds=4 * DEADLINE, calls=3))
    script = f"{SCRIPT}\nUSE look {{}} & look {{}}"
    journal = await _waiting(stage)
    journal.states[journal.calls("send")[0].id] = "allowed"

    too_many_calls = await stage.ask(script, journal, journal.past())
    provider.clear()
    stage.limits = replace(stage.limits, tool_requests=1)
    last = await stage.ask(SCRIPT, journal, journal.past())

    assert too_many_calls.code == "tool_limit"
    assert last.text == "One. \n\nTwo. "
    assert "tools" not in provider.requests[0].body


async def test_a_call_of_a_tool_that_is_gone_fails(provider: Provider) -> None:
    stage = Stage(provider, TWO)
    journal = await _waiting(stage)
    journal.states[journal.calls("send")[0].id] = "allowed"
    stage.specs = TWO[:1]

    result = await stage.ask(SCRIPT, journal, journal.past())

    assert result.text == "One. \n\nTwo. "
    assert stage.tool_messages()[1] == "[failure of send]\nThis tool is no longer available."
    assert journal.state_of("send") == "failed"


async def test_an_answer_whose_tools_are_all_gone_ends_with_text(provider: Provider) -> None:
    stage = Stage(provider, TWO, model="tools-required")
    journal = await _waiting(stage)
    journal.states[journal.calls("send")[0].id] = "denied"
    stage.specs = ()

    result = await stage.ask(SCRIPT, journal, journal.past())

    assert (result.code, result.text) == (None, "One. \n\nTwo. ")
    body = provider.requests[-1].body
    assert "tools" not in body
    assert not [m for m in body["messages"] if "tool_calls" in m or m["role"] == "tool"]
    assert "you called send" in body["messages"][-1]["content"]
    assert "This call was not allowed" in body["messages"][-1]["content"]


async def test_ids_of_calls_stay_distinct_after_a_resume(provider: Provider) -> None:
    stage = Stage(provider, (tool("look"),), {"look": echo}, model="tools-loop")
    stage.limits = replace(stage.limits, tool_requests=2)
    journal = MemoryJournal({"look": "asked"})
    await stage.ask("Go.", journal)
    journal.states[journal.calls()[0].id] = "allowed"
    journal.policy = {}

    await stage.ask("Go.", journal, journal.past())

    assert [call.call_id for call in journal.calls()] == ["call_1", "call_1_0"]
