"""Our LLM as CrewAI uses it: the request, the result, the events and the tool calls."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agents.engine.failures import CallAborted
from tests.agents.engine.answers import KEY, persona
from tests.provider import Provider

QUESTION: list[Any] = [{"role": "user", "content": "Hello?"}]


@contextmanager
def recorded_events() -> Iterator[list[Any]]:
    """Collect the events that CrewAI's bus gets in this context."""
    from crewai.events.stream_context import add_stream_sink, reset_stream_sinks

    events: list[Any] = []
    token = add_stream_sink(lambda _source, event: events.append(event))
    try:
        yield events
    finally:
        reset_stream_sinks(token)


async def call(
    provider: Provider, model: str, messages: Any = QUESTION, **options: Any
) -> tuple[Any, list[Any]]:
    """Return the result of `acall` and the events that it emitted."""
    from agents.engine.provider_llm import ProviderLLM

    with recorded_events() as events:
        result = await ProviderLLM(persona(provider.base_url, model)).acall(messages, **options)
    return result, events


def tool_schemas() -> list[dict[str, Any]]:
    """Return the schema of a tool as CrewAI converts it."""
    from crewai.tools import tool
    from crewai.utilities.agent_utils import convert_tools_to_openai_schema

    @tool("Look up")
    def look_up(text: str) -> str:
        """Look up a text."""
        return text

    return convert_tools_to_openai_schema([look_up])[0]


async def test_a_text_answer_has_the_events_of_a_call_in_order(provider: Provider) -> None:
    result, events = await call(provider, "tokens-3")

    assert result == "t0 t1 t2 "
    assert [event.type for event in (events[0], events[-1])] == [
        "llm_call_started",
        "llm_call_completed",
    ]
    assert {event.type for event in events[1:-1]} == {"llm_stream_chunk"}
    assert "".join(event.chunk for event in events[1:-1]) == result
    assert len({event.call_id for event in events}) == 1
    assert events[-1].started_event_id == events[0].event_id
    assert (events[-1].finish_reason, events[-1].usage["completion_tokens"]) == ("stop", 4)


async def test_a_failure_ends_the_call_with_an_event_and_without_a_retry(
    provider: Provider,
) -> None:
    with recorded_events() as events, pytest.raises(CallAborted) as aborted:
        await call(provider, "fault-429")

    assert aborted.value.failure.code == "provider_unavailable"
    assert aborted.value.__cause__ is None
    assert [event.type for event in events] == ["llm_call_started", "llm_call_failed"]
    assert events[-1].error == "provider_unavailable"
    assert len(provider.requests) == 1


async def test_a_blocking_call_is_refused(provider: Provider) -> None:
    from agents.engine.provider_llm import ProviderLLM

    llm = ProviderLLM(persona(provider.base_url, "tokens-3"))

    with pytest.raises(CallAborted):
        await asyncio.to_thread(llm.call, QUESTION)

    assert provider.requests == []


async def test_no_field_of_the_llm_and_no_event_has_the_key(provider: Provider) -> None:
    from agents.engine import crewai_adapter

    spec = persona(provider.base_url, "tokens-3")
    llm = crewai_adapter.build_llm(spec)
    agent = crewai_adapter.build_agent(spec, llm)

    with recorded_events() as events:
        await llm.acall(QUESTION, from_agent=agent)

    shown = [repr(llm), repr(agent), str(llm.model_dump()), *map(repr, events)]
    assert events[0].agent_role == spec.role
    assert not [text for text in shown if KEY in text]


async def test_tool_calls_are_returned_in_the_form_that_crewais_executor_reads(
    provider: Provider,
) -> None:
    from crewai.utilities.agent_utils import (
        build_tool_calls_assistant_message,
        is_tool_call_list,
    )

    tools = tool_schemas()

    calls, events = await call(provider, "tools", tools=tools)
    request, reported = build_tool_calls_assistant_message(calls)
    result = {"role": "tool", "tool_call_id": reported[0]["id"], "content": "found"}
    answer, _ = await call(provider, "tools", [*QUESTION, request, result], tools=tools)

    assert is_tool_call_list(calls)
    assert reported == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "look_up", "arguments": '{"text": "hello"}'},
        }
    ]
    assert [event.chunk for event in events[1:-1] if event.tool_call is None] == ["Let me look. "]
    assert (events[-1].call_type.value, events[-1].finish_reason) == ("tool_call", "tool_calls")
    assert answer == "The tool said: found"
    assert provider.requests[1].messages == [*QUESTION, request, result]


async def test_a_model_can_call_tools_in_every_round(provider: Provider) -> None:
    tools = tool_schemas()
    messages: list[Any] = [*QUESTION]

    for number in range(3):
        (found,), _ = await call(provider, "tools-loop", messages, tools=tools)
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [found]},
            {"role": "tool", "tool_call_id": found["id"], "content": "so"},
        ]
        assert found["function"]["arguments"] == f'{{"text": "again {number}"}}'


async def test_tools_are_sent_without_strict_and_otherwise_unchanged(provider: Provider) -> None:
    tools = tool_schemas()

    await call(provider, "tools", tools=tools)

    (sent,) = provider.requests[0].body["tools"]
    assert tools[0]["function"].pop("strict")
    assert sent == tools[0]
