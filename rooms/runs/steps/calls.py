"""The tool calls of runs, under the lock of their room: changes, and their events.

            proposed
                │ policy
      ┌─────────┼──────────┐
      ▼         ▼          ▼
  [denied] ◄─ asked ──► allowed ──► running ──► [done] [failed]
      ▲   expired, withdrawn │  ▲      │ worker lost
      └──────────────────────┘  └──────┴─────► [unknown]
            not begun yet   idempotent

A call that asks is decided by people; no call runs before it is allowed. `running` is stored before
the tool is executed and the result the moment it is there, so a call whose worker died is `unknown`
unless repeating it is harmless. A call that was begun once is never `denied`: if it may not be
repeated any more, it is `unknown`.
"""

from collections.abc import Iterable
from typing import Final, Literal, cast

from django.db import transaction
from django.utils import timezone
from msgspec import to_builtins

from accounts.models import User
from agents.tool_types import CallStateName
from rooms import metrics
from rooms.models import CallState, Denial, Message, Run, ToolCall
from rooms.protocol.events import ApprovalDecided, DurableEvent, MessageUpdated
from rooms.protocol.serializers import approval_body, message_body, step

Outcome = Literal["allowed", "denied", "expired", "withdrawn"]
"""How an approval ends, as its event says."""

ENDED: Final = frozenset({"done", "failed", "denied", "unknown"})
"""The states of a call that changes no more."""


def show(run: Run, calls: Iterable[ToolCall]) -> MessageUpdated:
    """Store changed calls in the steps of the answer of a run; return the event.

    The caller has locked the room, and read the answer behind the lock.
    """
    answer = answer_of(run)
    steps = {each["call"]: each for each in answer.steps or ()}
    steps |= {str(call.pk): to_builtins(step(call)) for call in calls}
    answer.steps = list(steps.values())
    answer.save(update_fields=["steps"])
    return MessageUpdated(message_body(answer, run))


def state_name(state: str) -> CallStateName:
    """Return the state of a call as the engine names it."""
    return cast("CallStateName", str(CallState(state)))


def answer_of(run: Run) -> Message:
    """Return the answer of a run that has been started."""
    if run.answer is None:
        raise ValueError("a run without an answer has no calls")
    return run.answer


def decide(
    call: ToolCall,
    run: Run,
    outcome: Outcome,
    by: User | None = None,
    *,
    note: str = "",
    for_run: bool = False,
    denial: Denial | None = None,
) -> list[DurableEvent]:
    """Decide on a call that asks, for good; return the event, or nothing if it is decided already.

    `denial` says why, where no person decides. The update is the claim: of two
    deciders, only one finds the call in the state `asked`. The caller has locked the room, and
    shows the steps.
    """
    state = CallState.ALLOWED if outcome == "allowed" else CallState.DENIED
    asked = ToolCall.objects.filter(pk=call.pk, state=CallState.ASKED)
    changes = {
        "state": state,
        "decided_by": by,
        "decided_at": timezone.now(),
        "note": note,
        "for_run": for_run,
        "denial": denial or "",
    }
    if not asked.update(**changes):
        return []
    for name, value in changes.items():
        setattr(call, name, value)
    transaction.on_commit(lambda: metrics.DECISIONS.labels(outcome).inc(), robust=True)
    return [ApprovalDecided(approval_body(call, run, outcome, by))]


def refuse(call: ToolCall, denial: Denial) -> None:
    """Set the state of a call that may not run, or not again. The caller stores and shows it.

    A call that an attempt has begun is `unknown`: its tool may have been executed.
    """
    if call.attempt:
        call.state = CallState.UNKNOWN
    else:
        call.state, call.denial = CallState.DENIED, denial


def withdraw(run: Run) -> list[DurableEvent]:
    """Close the open calls of a run that ends; return the events.

    A call that an attempt has begun is `unknown`: its tool may have been executed, also if its next
    attempt was about to repeat it, and a question to people or to a persona was seen. The events do
    not have the steps: the caller stores and publishes the answer. A run without steps costs no
    query.
    """
    answer = run.answer
    if answer is None or not answer.steps or all(s["state"] in ENDED for s in answer.steps):
        return []
    events: list[DurableEvent] = []
    calls = list(run.calls.exclude(state__in=ENDED))
    for call in calls:
        if call.state == CallState.ASKED:
            events += decide(call, run, "withdrawn", denial=Denial.RUN_ENDED)
            continue
        refuse(call, Denial.RUN_ENDED)
        call.save(update_fields=["state", "denial"])
    steps = {str(call.pk): to_builtins(step(call)) for call in calls}
    answer.steps = [steps.get(each["call"], each) for each in answer.steps]
    return events
