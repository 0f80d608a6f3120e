"""Merges the fragments of tool calls, in the form that CrewAI's executor expects from an LLM."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from agents.engine.stream.chat import ToolCallDelta


@dataclass(slots=True)
class ToolCall:
    """One tool call; `arguments` is JSON once the answer is complete."""

    position: int
    id: str | None = None
    name: str = ""
    arguments: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the call in OpenAI's form."""
        function = {"name": self.name, "arguments": self.arguments}
        return {
            "id": self.id,
            "type": "function",
            "function": function,
            "index": self.position,
        }


class ToolCalls:
    """The tool calls of one answer, in the order in which they began.

    Providers leave out the index of a call or its id, or send the same index with every call. So a
    fragment belongs to the call with its id, else to the call with its index, else to the last
    call. A fragment with a name begins another call if its id differs from that of the call with
    its index, or if it has neither an index nor a known id and the last call has a name already.
    """

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._by_id: dict[str, ToolCall] = {}
        self._by_number: dict[int, ToolCall] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: ToolCallDelta) -> ToolCall:
        """Add a fragment; return its call as it is now."""
        call = self._find(delta)
        if call is None:
            call = ToolCall(len(self._calls))
            self._calls.append(call)
        if delta.number is not None:
            self._by_number[delta.number] = call
        if delta.id and call.id is None:
            call.id = delta.id
            self._by_id[delta.id] = call
        call.name = delta.name or call.name
        call.arguments += delta.arguments
        return call

    def complete(self) -> list[dict[str, Any]]:
        """Return the calls; a call without an id gets one, because results are matched by id."""
        for call in self._calls:
            call.id = call.id or f"call_{uuid4().hex}"
        return [call.as_dict() for call in self._calls]

    def _find(self, delta: ToolCallDelta) -> ToolCall | None:
        if delta.id and delta.id in self._by_id:
            return self._by_id[delta.id]
        if delta.number is None:
            last = self._calls[-1] if self._calls else None
            return None if last and last.name and delta.name else last
        call = self._by_number.get(delta.number)
        return None if call and call.id and delta.id and delta.name else call
