"""What a run has done before this attempt, as the engine goes on with it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from agents.engine_types import PersonaSpec
from agents.tool_types import (
    CallRequest,
    PastCall,
    PastRequest,
    ToolResult,
    ToolSpec,
)
from agents.tools import result_words
from rooms.models import CallState, Denial, ModelRequest, Question, Run, Steer, ToolCall
from rooms.protocol.events import DurableEvent
from rooms.runs.steps import policy
from rooms.runs.steps.accepted_lines import as_steering
from rooms.runs.steps.calls import refuse, show, state_name

DENIALS: Final[Mapping[str, str]] = {
    Denial.CHANGED: "The tool has changed since you called it. Read its description again.",
    Denial.NOT_ALLOWED: "You may not use this tool now.",
    Denial.NO_DECIDER: "There is no person here who may decide on it.",
    Denial.EXPIRED: "No person decided on it in time.",
    Denial.RUN_ENDED: "The answer ended before it was carried out.",
}
DENIED_WITH: Final = "The person who denied it wrote: %s"
"""Why a call was denied, for the model, behind `result_words.DENIED`; the words of the person are
data."""


def take_over(
    run: Run, spec: PersonaSpec, lines: Sequence[Steer]
) -> tuple[list[PastRequest], list[DurableEvent]]:
    """Return the former requests of a run that starts again, and the events of calls that change.

    The caller has locked the room. `lines` are the applied steering lines of the run. A call that
    the former worker had begun is `unknown`, or `allowed` again if its tool is idempotent; one that
    waits for people or for another run keeps waiting. An allowed call whose tool the persona has no
    longer is denied: because the tool has changed, if it has.
    """
    requests = list(run.requests.order_by("number"))
    if not requests:
        return [], []
    calls = list(run.calls.order_by("request", "position"))
    tools = {tool.id: tool for tool in spec.tools}
    changed = _settle(run, calls, tools)
    ToolCall.objects.bulk_update(changed, ["state", "denial"])
    events: list[DurableEvent] = [show(run, changed)] if changed else []
    return past_of(requests, calls, lines, tools), events


def past_of(
    requests: Sequence[ModelRequest],
    calls: Sequence[ToolCall],
    lines: Sequence[Steer],
    tools: Mapping[UUID, ToolSpec],
) -> list[PastRequest]:
    """Return the requests of a run with their calls, and the steering lines that followed."""
    by_request: defaultdict[int, list[PastCall]] = defaultdict(list)
    for call in calls:
        by_request[call.request].append(_past_call(call, tools))
    return [
        PastRequest(
            number=request.number,
            text=request.text,
            calls=by_request[request.number],
            steering=as_steering(line for line in lines if line.request == request.number),
        )
        for request in requests
    ]


def _settle(run: Run, calls: Sequence[ToolCall], tools: Mapping[UUID, ToolSpec]) -> list[ToolCall]:
    """Set the states of calls that the former worker has left; return the changed calls."""
    begun = [call for call in calls if call.state == CallState.RUNNING]
    pending = _pending(begun)
    changed = [call for call in begun if call.pk not in pending]
    for call in changed:
        tool = tools.get(call.tool) if call.tool else None
        # The tool may have another meaning since, or be gone: the call may have been executed.
        may_repeat = call.idempotent and tool is not None and tool.idempotent
        call.state = CallState.ALLOWED if may_repeat else CallState.UNKNOWN
    lost = [call for call in calls if call.state == CallState.ALLOWED and call.tool not in tools]
    for call in lost:
        refuse(call, policy.refusal(run, call) or Denial.NOT_ALLOWED)
    changed += lost
    return list(dict.fromkeys(changed))


def _pending(calls: Sequence[ToolCall]) -> set[UUID]:
    """Return the calls that wait for the answers of people, or for other runs."""
    if not calls:
        return set()
    asking = Question.objects.filter(call__in=calls)
    children = Run.objects.filter(parent_call__in=calls)
    asked = {question.pk for question in asking}
    return asked | {run.parent_call_id for run in children if run.parent_call_id}


def _past_call(call: ToolCall, tools: Mapping[UUID, ToolSpec]) -> PastCall:
    request = CallRequest(
        id=call.pk,
        call_id=call.call_id,
        name=call.name,
        arguments=call.arguments,
        spec=tools.get(call.tool) if call.tool else None,
        extra=call.extra,
    )
    return PastCall(request=request, state=state_name(call.state), result=stored_result(call))


def result_of(call: ToolCall) -> ToolResult:
    """Return what the model gets of a call that has ended."""
    return result_words.of_call(_past_call(call, {}))


def stored_result(call: ToolCall) -> ToolResult | None:
    """Return the result of a call; for a denied one, the sentence that says why."""
    if call.state in (CallState.DONE, CallState.FAILED):
        failed = call.state == CallState.FAILED
        return ToolResult(text=call.result, short=call.short, failed=failed)
    if call.state == CallState.DENIED and call.denial:
        return ToolResult(text=DENIALS[call.denial], failed=True)
    if call.state == CallState.DENIED and call.note:
        return ToolResult(text=DENIED_WITH % call.note, failed=True)
    return None
