"""Merges the fragments of tool calls, in the form that CrewAI's executor expects from an LLM."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from agents.engine.stream.chat import ToolCallDelta


@dataclass(slots=True)
class ToolCall:
    """One tool call; `arguments` is JSON once the answer is complete.

    `number` is the index that the provider has sent first, `position` is ours.
    """

    position: int
    number: int | None = None
    id: str | None = None
    name: str = ""
    arguments: str = ""
    extra: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Return the call in OpenAI's form, with the field that Gemini adds to it."""
        function = {"name": self.name, "arguments": self.arguments}
        call = {"id": self.id, "type": "function", "function": function, "index": self.position}
        return call | {"extra_content": self.extra} if self.extra else call


class ToolCalls:
    """The tool calls of one answer, in the order in which they began.

    Providers leave out the index of a call or its id, or send the same index with every call. So a
    fragment belongs to the call with its id, else to the call with its index, else to the last
    call. A fragment with a name begins another call if its id differs from that of the call with
    its index, or if it has neither an index nor a known id and the last call has a name already.
    It also does if its id is known, but its index or its name differs from those of that call:
    some providers give the same id to every call.
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
            call = ToolCall(len(self._calls), delta.number)
            self._calls.append(call)
        if delta.number is not None:
            self._by_number[delta.number] = call
        if delta.id and (call.id is None or call.id == delta.id):
            call.id = delta.id
            self._by_id[delta.id] = call
        call.name = delta.name or call.name
        call.extra = delta.extra or call.extra
        call.arguments += delta.arguments
        return call

    def complete(self) -> list[dict[str, Any]]:
        """Return the calls; a call without an id gets one. A provider may repeat an id."""
        for call in self._calls:
            call.id = call.id or f"call_{uuid4().hex}"
        return [call.as_dict() for call in self._calls]

    def _find(self, delta: ToolCallDelta) -> ToolCall | None:
        numbered = None if delta.number is None else self._by_number.get(delta.number)
        if delta.id and (call := self._by_id.get(delta.id)):
            call = numbered if numbered and numbered.id == delta.id else call
            return None if _is_another(delta, call) else call
        if delta.number is None:
            last = self._calls[-1] if self._calls else None
            return None if last and last.name and delta.name else last
        return None if numbered and numbered.id and delta.id and delta.name else numbered


def _is_another(delta: ToolCallDelta, call: ToolCall) -> bool:
    """Return True if a fragment with the id of `call` begins another call."""
    if not delta.name:
        return False
    numbers = {delta.number, call.number} - {None}
    return len(numbers) == 2 or bool(call.name and delta.name != call.name)
