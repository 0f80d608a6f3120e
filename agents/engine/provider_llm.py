"""An LLM for CrewAI that reads the stream of a provider compatible with OpenAI.

CrewAI's own class for such providers uses the OpenAI SDK, which takes more CPU time for each chunk.
The class merges tool calls without an index, and rewrites the schemas of tools.
"""

import asyncio
from contextlib import aclosing
from typing import Any, Literal

from crewai import BaseLLM
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import llm_call_context
from pydantic import PrivateAttr

from agents.engine.failures import CallAborted
from agents.engine.http import open_answer
from agents.engine.stream.body import EVENTS_PER_TURN, AnswerBody
from agents.engine.stream.chat import TextDelta
from agents.engine.stream.tool_calls import ToolCalls
from agents.engine_types import AnswerFailed, PersonaSpec, Usage


class ProviderLLM(BaseLLM):
    """The model of one persona, for one attempt of a run. The key is in none of its fields.

    `acall` emits the events of CrewAI's own classes. A failure raises CallAborted, so that CrewAI
    neither retries the call nor logs its error.
    """

    llm_type: Literal["provider"] = "provider"
    stream: bool | None = True
    _spec: PersonaSpec = PrivateAttr()
    _attempt: int = PrivateAttr()
    _body: AnswerBody | None = PrivateAttr(default=None)

    def __init__(self, spec: PersonaSpec, attempt: int = 0) -> None:
        super().__init__(
            model=spec.model, temperature=spec.temperature, max_tokens=spec.max_output_tokens
        )
        self._spec = spec
        self._attempt = attempt

    @property
    def received(self) -> int:
        """The number of events with output that the provider has sent in this call.

        One event of CrewAI may hold the output of many of them.
        """
        return self._body.reader.deltas if self._body else 0

    @property
    def reasoning(self) -> str:
        """What the provider wants back with the tool calls of this call as `reasoning_content`."""
        return self._body.reader.reasoning if self._body else ""

    async def acall(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None = None,
        *_args: Any,
        from_task: Any = None,
        from_agent: Any = None,
        **_options: Any,
    ) -> str | list[dict[str, Any]]:
        """Return the text of the answer, or its tool calls; the caller executes them.

        The ignored arguments belong to BaseLLM's signature.
        """
        origin = {"from_task": from_task, "from_agent": from_agent}
        with llm_call_context():
            self._emit_call_started_event(messages=messages, tools=tools, **origin)
            try:
                fields = self._request_fields(messages, tools)
                async with open_answer(self._spec, self._attempt, fields) as body:
                    self._body = body
                    return await self._read(body, origin)
            except AnswerFailed as failure:
                self._emit_call_failed_event(error=failure.code, **origin)
                raise CallAborted(failure) from None

    def call(self, *_args: Any, **_options: Any) -> str:
        """Raise CallAborted: the engine makes no blocking calls."""
        raise CallAborted(AnswerFailed("internal"))

    def supports_function_calling(self) -> bool:
        """Return True: CrewAI passes the schemas of tools to `acall`, not in the prompt."""
        return True

    def _request_fields(self, messages: Any, tools: list[dict[str, Any]] | None) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "model": self.model,
            "messages": self._format_messages(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.temperature is not None:
            fields["temperature"] = self.temperature
        if self.max_tokens is not None:
            fields["max_tokens"] = self.max_tokens
        if tools:
            fields["tools"] = self._convert_tools_for_interference(tools)
        return fields

    def _convert_tools_for_interference(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the tools without `strict`, for which every parameter would be required."""
        return [
            tool | {"function": {k: v for k, v in tool["function"].items() if k != "strict"}}
            for tool in tools
        ]

    async def _read(self, body: AnswerBody, origin: dict[str, Any]) -> str | list[dict[str, Any]]:
        texts: list[str] = []
        calls = ToolCalls()
        events = 0
        async with aclosing(body.batches()) as batches:
            async for batch in batches:
                for delta in batch:
                    if isinstance(delta, TextDelta):
                        texts.append(delta.text)
                        self._emit_stream_chunk_event(delta.text, **origin)
                    else:
                        call = calls.add(delta).as_dict()
                        self._emit_stream_chunk_event(
                            delta.arguments,
                            tool_call=call,
                            call_type=LLMCallType.TOOL_CALL,
                            **origin,
                        )
                    events += 1
                    if events % EVENTS_PER_TURN == 0:
                        await asyncio.sleep(0)
        reader = body.reader
        usage = _usage(reader.usage)
        if usage:
            self._track_token_usage_internal(usage)
        response = calls.complete() if calls else self._apply_stop_words("".join(texts))
        self._emit_call_completed_event(
            response=response,
            call_type=LLMCallType.TOOL_CALL if calls else LLMCallType.LLM_CALL,
            usage=usage,
            finish_reason=reader.finish_reason or "stop",
            **origin,
        )
        return response


def _usage(usage: Usage | None) -> dict[str, int] | None:
    """Return the token counts in OpenAI's form."""
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
