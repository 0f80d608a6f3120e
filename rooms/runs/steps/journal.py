"""The journal of a run: what the engine does is stored before it is done, and again after it.

Each method is one transaction of a thread, under the owner and the attempt of the worker. While the
database is unavailable it is retried: the outcome of a call must not be lost. A retry may find that
the transaction had been committed, and the response lost with the connection; it changes nothing
then.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import cache, partial
from hashlib import sha256
from typing import Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.database.prepared_queries import insert
from agents.engine_types import MAX_TOKEN_COUNT
from agents.tool_types import (
    MAX_ARGUMENTS,
    MAX_STORED_RESULT,
    CallRequest,
    PastCall,
    Steering,
    ToolResult,
)
from agents.tools import result_words
from agents.untrusted_text import storable
from rooms.event_log import record
from rooms.executors import RUNS, in_thread_until_stored
from rooms.models import CallState, Denial, ModelRequest, Room, Run, Steer, SteerState, ToolCall
from rooms.protocol.events import ApprovalRequested, DurableEvent
from rooms.protocol.serializers import approval_body
from rooms.runs import leases
from rooms.runs.crews.rights import unauthorized
from rooms.runs.lifecycle import Job
from rooms.runs.notifications import wakeup
from rooms.runs.steps import erasing, policy
from rooms.runs.steps.accepted_lines import EndedRequest, as_steering, take
from rooms.runs.steps.calls import refuse, show, state_name
from rooms.runs.steps.past import result_of, stored_result

P = ParamSpec("P")
T = TypeVar("T")

Tokens = tuple[int, int] | None

MAX_SHORT: Final = 200
MAX_NAME: Final = 64
MAX_TITLE: Final = 80
MAX_CALL_ID: Final = 200


class RunJournal:
    """The journal of one attempt; `agents.tool_types.Journal` describes the methods.

    They raise LeaseLost if the worker has lost the run, and AnswerFailed if its asker may not ask
    any more.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._begun: set[UUID] = set()
        self._lines = {line.id for request in job.past for line in request.steering}
        """The steering lines that the engine has."""
        self._notified = wakeup.steered

    async def propose(
        self, number: int, text: str, tokens: Tokens, calls: Sequence[CallRequest]
    ) -> Sequence[PastCall]:
        stored = await self._store(propose, number, text, tokens, calls)
        return [
            PastCall(each, state_name(call.state), stored_result(call))
            for each, call in zip(calls, stored, strict=True)
        ]

    async def begin(self, call: UUID) -> ToolResult | None:
        # A retry finds a call running that it has begun itself, so no call may be begun twice.
        if call in self._begun:
            return result_words.UNKNOWN
        self._begun.add(call)
        return await self._store(begin, call)

    async def finish(self, call: UUID, result: ToolResult, ms: int) -> None:
        await self._store(finish, call, result, ms)

    async def steering(
        self, number: int, text: str, tokens: Tokens, *, final: bool
    ) -> Sequence[Steering]:
        if final and not self._job.spec.tools and wakeup.steered == self._notified:
            return ()  # most answers: no query for lines that do not exist
        ended = EndedRequest(number, storable(text), tokens) if final else number
        lines = await self._store(_take_lines, ended, self._lines)
        self._lines.update(line.id for line in lines)
        return lines

    async def _store(
        self, write: Callable[Concatenate[Job, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await in_thread_until_stored(RUNS, write, self._job, *args, **kwargs)


@transaction.atomic
def propose(
    job: Job, number: int, text: str, tokens: Tokens, requests: Sequence[CallRequest]
) -> list[ToolCall]:
    room, run = leases.lock_owned(job.run, job.owner, job.attempt)
    if run.requests.filter(number=number).exists():  # stored by the attempt before this retry
        return list(run.calls.filter(request=number).order_by("position"))
    input_tokens, output_tokens = tokens or (None, None)
    insert(
        ModelRequest(
            run=run,
            number=number,
            text=storable(text),
            input_tokens=_counted(input_tokens),
            output_tokens=_counted(output_tokens),
        )
    )
    calls = [_new_call(run, number, position, each) for position, each in enumerate(requests)]
    asked = _set_states(room, run, calls)
    insert(*calls)
    events: list[DurableEvent] = [ApprovalRequested(approval_body(call, run)) for call in asked]
    if calls:
        events.insert(0, show(run, calls))
    record(room, *events)
    return calls


def _new_call(run: Run, number: int, position: int, request: CallRequest) -> ToolCall:
    """Return the row of a call, with the state `failed` or `denied` if it cannot be executed."""
    spec = request.spec
    arguments = storable(request.arguments)[:MAX_ARGUMENTS]
    call = ToolCall(
        id=request.id,
        run=run,
        request=number,
        position=position,
        call_id=storable(request.call_id)[:MAX_CALL_ID],
        tool=spec.id if spec else None,
        name=storable(request.name)[:MAX_NAME],
        title=storable(spec.title if spec else request.name)[:MAX_TITLE],
        changes=spec.changes if spec else False,
        idempotent=spec.idempotent if spec else False,
        personal=spec.personal if spec else False,
        arguments=arguments,
        arguments_sha256=sha256(arguments.encode()).hexdigest(),
        definition_sha256=spec.sha256 if spec else "",
        extra=storable(request.extra),
    )
    if request.problem or spec is None:
        call.state, call.result = CallState.FAILED, storable(request.problem)[:MAX_STORED_RESULT]
    elif arguments != request.arguments:  # people would decide on other arguments
        call.state = CallState.DENIED
    return call


def _set_states(room: Room, run: Run, calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Set the states of new calls by the rules of the persona; return those that ask people.

    A call on which no person may decide is denied: no decision could end its wait.
    """
    ruled = _rules_of(run, [call for call in calls if call.state == CallState.PROPOSED])
    number = calls[0].request if calls else 0
    steered = cache(partial(policy.last_line_of_others, run, number))
    ask = {rule.tool for call, rule in ruled.items() if not policy.is_free(call, rule, steered)}
    decided = policy.decided_for_run(room, run, ask, steered)

    @cache
    def asked_of(deciders: str, *, personal: bool) -> list[str]:
        return [str(user) for user in policy.deciders(room, run, deciders, personal=personal)]

    expires_at = timezone.now() + timedelta(hours=settings.APPROVAL_HOURS)
    for call, rule in ruled.items():
        if rule.tool not in ask:
            call.state = CallState.ALLOWED
        elif (earlier := decided.get(rule.tool)) and policy.holds_for(earlier, call):
            is_denied = earlier.state == CallState.DENIED
            call.state = CallState.DENIED if is_denied else CallState.ALLOWED
            call.decided_by_id, call.decided_at = earlier.decided_by_id, earlier.decided_at
            call.note = earlier.note
        else:
            call.deciders = rule.deciders
            call.asked_of = asked_of(rule.deciders, personal=call.personal)
            if call.asked_of:
                call.state, call.expires_at = CallState.ASKED, expires_at
            else:
                refuse(call, Denial.NO_DECIDER)
    return [call for call in calls if call.state == CallState.ASKED]


def _rules_of(run: Run, calls: Sequence[ToolCall]) -> dict[ToolCall, policy.Rule]:
    """Return the rules of calls; refuse those that may not run, also if people allow them."""
    rules = policy.rules_of(run, {call.tool for call in calls if call.tool})
    found: dict[ToolCall, policy.Rule] = {}
    for call in calls:
        rule = rules.get(call.tool) if call.tool else None
        if denial := policy.denial_of(call, rule):
            refuse(call, denial)
        elif rule:
            found[call] = rule
    return found


@transaction.atomic
def begin(job: Job, call_id: UUID) -> ToolResult | None:
    room, run = leases.lock_owned(job.run, job.owner, job.attempt)
    call = run.calls.get(pk=call_id)
    if (call.state, call.attempt) == (CallState.RUNNING, job.attempt):
        return None  # stored by the attempt before this retry
    if call.state != CallState.ALLOWED:
        return result_of(call)
    if refusal := unauthorized(room, [run]).get(run):
        raise refusal
    # The server may have become personal since the call was proposed.
    call.personal |= any(tool.personal for tool in job.spec.tools if tool.id == call.tool)
    if denial := policy.refusal(run, call):
        refuse(call, denial)
    else:
        call.state, call.attempt = CallState.RUNNING, job.attempt
        call.started_at = timezone.now()
    call.save(update_fields=["state", "attempt", "started_at", "personal", "denial"])
    record(room, show(run, [call]))
    return None if call.state == CallState.RUNNING else result_of(call)


@transaction.atomic
def finish(job: Job, call_id: UUID, result: ToolResult, ms: int) -> None:
    room, run = leases.lock_owned(job.run, job.owner, job.attempt)
    call = run.calls.get(pk=call_id)
    if call.state != CallState.RUNNING:
        return
    call.state = CallState.FAILED if result.failed else CallState.DONE
    # A service that deletes or edits a message holds the lock of the room, as this function does.
    is_outdated = erasing.is_outdated(result.read)
    call.result = "" if is_outdated else storable(result.text)[:MAX_STORED_RESULT]
    call.short = storable(result.short)[:MAX_SHORT]
    call.ms = min(ms, MAX_TOKEN_COUNT)
    call.save(update_fields=["state", "result", "short", "ms"])
    if not is_outdated:
        erasing.quote(call, result.read)
    record(room, show(run, [call]))


def _take_lines(job: Job, after: int | EndedRequest, known: Collection[UUID]) -> Sequence[Steering]:
    """Apply the accepted lines after a request; return those that the engine does not know yet.

    They include the lines that a transaction has applied whose response was lost.
    """
    number = after.number if isinstance(after, EndedRequest) else after
    lines = Steer.objects.filter(run=job.run).exclude(pk__in=known)
    if not lines.filter(Q(state=SteerState.ACCEPTED) | Q(request=number)).exists():
        return ()
    with transaction.atomic():
        room, run = leases.lock_owned(job.run, job.owner, job.attempt)
        take(room, run, after)
        return as_steering(lines.filter(state=SteerState.APPLIED, request=number))


def _counted(tokens: int | None) -> int | None:
    return None if tokens is None else min(max(tokens, 0), MAX_TOKEN_COUNT)
