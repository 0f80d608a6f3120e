"""The REST endpoints of tool calls: what a run has called, and the decisions of people."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, structs

from accounts.api.bodies import Body
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, each, page_of, parse_cursor
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict
from accounts.fields import Timestamp, format_timestamp, one_of
from accounts.models import User
from rooms import queries, services
from rooms.models import CallState, Denial, Run, ToolCall
from rooms.permissions import VIEW, access_run
from rooms.protocol.call_words import result_of, title_of
from rooms.protocol.commands import MAX_NOTE
from rooms.protocol.payloads import ApprovalBody
from rooms.protocol.serializers import approval_body, step
from rooms.runs.steps import policy
from rooms.services.approvals import access_approval, access_to_show, outcome_of

routes = Routes("approvals")


class CallBody(Struct, frozen=True, kw_only=True):
    """A tool call of a run.

    `arguments`, `arguments_sha256`, `note` and `result` are null for users who may not see them;
    the result is not if it was shown to the room. `request` is the number of the request to the
    model, from 0. `short` is a word or two for all members, `by` the user who decided. `short`, and
    the `title` of a tool of our own, are in the language of the request. With `may_show`, the
    current user may show the result to the room. `denial` says why a call was denied by no person,
    or was refused after a decision.
    """

    id: UUID
    run: UUID
    request: int
    tool: str
    title: str
    state: Annotated[str, one_of(CallState.values)]
    changes: bool
    arguments: str | None
    arguments_sha256: str | None
    note: str | None
    result: str | None
    short: str
    shown: bool
    may_show: bool
    denial: Annotated[str, one_of(Denial.values)] | None
    by: UUID | None
    decided_at: Timestamp | None
    ms: int | None
    created_at: Timestamp


class AskedCallBody(ApprovalBody, frozen=True, kw_only=True):
    """An approval with what people decide on: the arguments, as JSON text, and their hash.

    The `title` of a tool of our own is in the language of the request.
    """

    room: UUID
    arguments: str
    arguments_sha256: str


class CallDecision(Body, frozen=True, rename={"extent": "for"}):
    """A decision on a call with these arguments; the model gets the `note` of a denial.

    `for` the run: it holds for the later calls of the tool in this run, too.
    """

    decision: Literal["allow", "deny"]
    arguments_sha256: Annotated[str, Meta(max_length=64)]
    extent: Literal["call", "run"] = "call"
    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""


@routes.add(
    "GET /runs/{uuid:run_id}/calls",
    Gate(access_run, VIEW),
    summary="List the tool calls of a run, oldest first",
)
def get_calls(
    user: User, run: Run, limit: Limit = MAX_PAGE, cursor: Cursor = None
) -> Page[CallBody]:
    """People who may not see arguments and results get the calls without."""
    calls = list(run.calls.order_by("request", "position"))
    if cursor is not None:  # an unknown call is followed by none
        last = parse_cursor(ToolCall, "pk", cursor)
        calls = calls[next((n for n, call in enumerate(calls, 1) if call.pk == last), len(calls)) :]
    next_cursor = str(calls[limit - 1].pk) if len(calls) > limit else None
    calls = calls[:limit]
    seen = services.may_see(user, run.room, run, calls)
    showable = services.may_show(user, run, calls) & seen
    bodies = [
        _call_body(call, is_seen=call.pk in seen, may_show=call.pk in showable) for call in calls
    ]
    return Page(items=bodies, next=next_cursor)


def _call_body(call: ToolCall, *, is_seen: bool, may_show: bool = False) -> CallBody:
    is_shown = call.shown_by_id is not None
    shown = step(call)
    return CallBody(
        id=call.pk,
        run=call.run_id,
        request=call.request,
        tool=call.name,
        title=title_of(shown),
        state=call.state,
        changes=call.changes,
        arguments=call.arguments if is_seen else None,
        arguments_sha256=call.arguments_sha256 if is_seen else None,
        note=call.note if is_seen else None,
        result=call.result if is_seen or is_shown else None,
        short=result_of(shown),
        shown=is_shown,
        may_show=may_show,
        denial=call.denial or None,
        by=call.decided_by_id,
        decided_at=format_timestamp(call.decided_at) if call.decided_at else None,
        ms=call.ms,
        created_at=format_timestamp(call.created_at),
    )


@routes.add(
    "POST /runs/{uuid:run_id}/calls/{uuid:call_id}/show",
    gate_if_invalid=Gate(access_to_show),
    errors=(Conflict,),
    # A stored response would still contain the result after the answer is deleted.
    idempotency="repeat",
    summary="Show the result of a tool call to all members of the room",
)
def show_result(user: User, run_id: UUID, call_id: UUID) -> CallBody:
    call = services.show_result(user=user, run_id=run_id, call_id=call_id)
    return _call_body(call, is_seen=True)


@routes.add("GET /approvals", summary="List the tool calls that the current user may decide on")
def get_approvals(user: User, limit: Limit = 50, cursor: Cursor = None) -> Page[AskedCallBody]:
    """The calls of all teams, or of the team of the token; the newest first."""
    return page_of(
        policy.calls_to_decide(user).select_related("run"),
        each(_asked_body),
        limit=limit,
        cursor=cursor,
        fitting=queries.calls_within_bytes,
    )


def _asked_body(call: ToolCall) -> AskedCallBody:
    approval = approval_body(call, call.run, outcome_of(call), call.decided_by)
    return AskedCallBody(
        **structs.asdict(approval) | {"title": title_of(approval)},
        room=call.run.room_id,
        arguments=call.arguments,
        arguments_sha256=call.arguments_sha256,
    )


@routes.add(
    "GET /approvals/{uuid:approval_id}",
    Gate(access_approval),
    summary="Get a tool call that asks, or has asked, for a decision",
)
def get_approval(user: User, call: ToolCall) -> AskedCallBody:
    return _asked_body(call)


@routes.add(
    "POST /approvals/{uuid:approval_id}/decide",
    Gate(access_approval),
    errors=(Conflict,),
    # A stored response would still contain the arguments after the answer is deleted.
    idempotency="ignore",
    summary="Allow or deny a tool call",
)
def decide(user: User, call: ToolCall, body: CallDecision) -> AskedCallBody:
    """If another person has decided first, the answer is `conflict` and says who.

    A repetition is a `conflict`, too, and changes nothing, so it takes no `Idempotency-Key`.
    """
    decided = services.decide_call(
        user=user,
        call_id=call.pk,
        decision=body.decision,
        arguments_sha256=body.arguments_sha256,
        extent=body.extent,
        note=body.note,
    )
    return _asked_body(decided)
