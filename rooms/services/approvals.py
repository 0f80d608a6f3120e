"""Decides on the tool calls of runs, and shows their results to the room."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.audit.log import audit
from accounts.errors import Conflict, Forbidden, NotFound
from accounts.models import User
from accounts.names import clean_line
from accounts.permissions import MANAGE_AGENTS, team_permissions
from accounts.scopes import ADMIN
from rooms.event_log import record
from rooms.models import ACTIVE, CallState, Denial, Room, Run, ToolCall
from rooms.permissions import MODERATE, POST, VIEW, access_call, access_room, lock_room
from rooms.runs.steps import policy
from rooms.runs.steps.calls import Outcome, decide, show
from rooms.runs.steps.resuming import resume
from rooms.runs.steps.waiting import lock_call
from rooms.services.messages import check_not_deleted

Decision = Literal["allow", "deny"]
Extent = Literal["call", "run"]
"""What a decision holds for: one call, or also the later calls of its tool in this run."""


WITH_RESULT: Final = (CallState.DONE, CallState.FAILED)
"""The states of a call whose result can be shown to the room."""
WITHDRAWN: Final[Mapping[str, Promise]] = {
    Denial.CHANGED: gettext_lazy(
        "The tool has changed since this was asked, so the call was not carried out."
    ),
    Denial.NO_DECIDER: gettext_lazy(
        "No person in this room may decide on this call any more, so it was denied."
    ),
}
"""Why a call is withdrawn whose run goes on."""


def access_approval(user: User, approval_id: UUID) -> ToolCall:
    """Return a call that asks, or has asked, for a decision, if `user` may decide on it.

    Raises NotFound, also for a call that never asked; Forbidden for other members of the room.
    """
    call = access_call(user, approval_id, VIEW)
    _check_may_decide(user, call.run.room, call.run, call)
    return call


def decide_call(
    *,
    user: User,
    call_id: UUID,
    decision: Decision,
    arguments_sha256: str,
    extent: Extent = "call",
    note: str = "",
) -> ToolCall:
    """Allow or deny a call that asks; its run goes on if no other call of it is open.

    The model gets the `note` of a denial. With the extent `run`, the decision holds for the later
    calls of the tool in this run; for a tool that changes something, only a user who manages the
    personas of the team may allow that: Forbidden for others. Raises Conflict if the call is
    decided already, if its run has ended, or if its arguments are not those with the hash
    `arguments_sha256`. A call whose tool has changed since cannot be allowed: it is withdrawn, and
    Conflict says so.
    """
    room_id = access_call(user, call_id, VIEW).run.room_id
    with transaction.atomic():
        room = lock_room(user, room_id, VIEW)
        run, call = lock_call(room, call_id)
        _check_may_decide(user, room, run, call)
        _check_is_asked(user, run, call, arguments_sha256)
        if extent == "run":
            _check_for_run(user, room, call, decision)
        is_outdated = decision == "allow" and policy.refusal(run, call) == Denial.CHANGED
        if is_outdated:
            events = decide(call, run, "withdrawn", denial=Denial.CHANGED)
        else:
            outcome: Outcome = "allowed" if decision == "allow" else "denied"
            line, for_run = clean_line(note), extent == "run"
            events = decide(call, run, outcome, user, note=line, for_run=for_run)
        if not events:  # only without a lock on the room
            raise Conflict(_("This was decided in the meantime."))
        record(room, *events, show(run, [call]), *resume(run))
        if not is_outdated:
            after = {"state": call.state, "run": str(run.pk), "tool": str(call.tool), "for": extent}
            audit(user, "approval.decided", call.pk, team_id=room.team_id, after=after)
    if is_outdated:  # a raise inside the transaction would undo it
        raise Conflict(WITHDRAWN[Denial.CHANGED])
    return call


def access_to_show(user: User, run_id: UUID, call_id: UUID) -> Run:
    """Return the run of a call whose result `user` may show to the room.

    These are the asker and, unless the call is personal, the moderators. Raises NotFound or
    Forbidden.
    """
    call = access_call(user, call_id, VIEW)
    if call.run_id != run_id:
        raise NotFound
    access_call(user, call_id, POST if call.run.requested_by_id == user.pk else MODERATE)
    _check_may_show(user, call.run, call)
    return call.run


@transaction.atomic
def show_result(*, user: User, run_id: UUID, call_id: UUID) -> ToolCall:
    """Show the result of a call to all members of the room, as the asker or a moderator.

    Raises Conflict for a call without a result, and for a deleted answer. Nothing happens if it is
    shown already.
    """
    asked = access_to_show(user, run_id, call_id)
    room = lock_room(user, asked.room_id, POST if asked.requested_by_id == user.pk else MODERATE)
    run, call = lock_call(room, call_id)
    _check_may_show(user, run, call)  # again under the lock: the call may have become personal
    if run.answer is not None:
        check_not_deleted(run.answer)
    if call.state not in WITH_RESULT:
        raise Conflict(_("This call has no result."))
    if call.shown_by_id is None:
        call.shown_by = user
        call.save(update_fields=["shown_by"])
        record(room, show(run, [call]))
        audit(user, "call.shown", call.pk, team_id=room.team_id, after={"run": str(run.pk)})
    return call


def outcome_of(call: ToolCall) -> str:
    """Return the state of an approval: `asked`, or how it has ended."""
    if call.state == CallState.ASKED:
        return call.state
    if call.state != CallState.DENIED or (call.denial and call.decided_by_id):
        return "allowed"  # also where the call was refused later
    if call.decided_by_id is not None:
        return "denied"
    return "expired" if call.denial == Denial.EXPIRED else "withdrawn"


def may_see(user: User, room: Room, run: Run, calls: Sequence[ToolCall]) -> set[UUID]:
    """Return those of these calls of a run whose arguments and results `user` may see.

    These are the calls on which the user may decide, all calls for the asker of the run and for
    users who manage the personas of the team. The caller has checked that the user is in the room.
    """
    is_asker = run.requested_by_id == user.pk
    if is_asker or _manages_agents(user, room):
        return {call.pk for call in calls}
    allowed = {
        (rule, personal): bool(policy.may_decide(room, run, rule, [user.pk], personal=personal))
        for rule, personal in {(call.deciders, call.personal) for call in calls}
    }
    return {call.pk for call in calls if allowed[call.deciders, call.personal]}


def may_show(user: User, run: Run, calls: Sequence[ToolCall]) -> set[UUID]:
    """Return those of these calls of a run whose results `user` may show to the room now.

    Equal to trying `show_result` with each, without those that are shown already.
    """
    if run.answer is None or run.answer.deleted_at is not None:
        return set()
    is_asker = run.requested_by_id == user.pk
    try:
        access_room(user, run.room_id, POST if is_asker else MODERATE)
    except Forbidden:
        return set()
    return {
        call.pk
        for call in calls
        if call.state in WITH_RESULT
        and call.shown_by_id is None
        and (is_asker or not call.personal)
    }


def _check_may_decide(user: User, room: Room, run: Run, call: ToolCall) -> None:
    if call.expires_at is None:  # the call has never asked
        raise NotFound
    if not policy.may_decide(room, run, call.deciders, [user.pk], personal=call.personal):
        raise Forbidden(_("Other people decide on this call."), team_id=room.team_id)


def _check_may_show(user: User, run: Run, call: ToolCall) -> None:
    if call.personal and run.requested_by_id != user.pk:
        raise Forbidden(team_id=run.team_id)


def _check_is_asked(user: User, run: Run, call: ToolCall, arguments_sha256: str) -> None:
    if closed := _closed(user, run, call):
        raise Conflict(closed)
    if call.arguments_sha256 != arguments_sha256:
        raise Conflict(_("These are not the arguments of this call. Read it again, then decide."))


def _closed(user: User, run: Run, call: ToolCall) -> str:
    """Return why nothing is to be decided any more; an empty text if the call asks."""
    by = call.decided_by
    if by == user:
        return _("You have decided on this call already.")
    if call.denial in WITHDRAWN and by is None:
        return str(WITHDRAWN[call.denial])
    if by is not None:
        denied = call.state == CallState.DENIED
        first = _("%(name)s denied it first.") if denied else _("%(name)s allowed it first.")
        return first % {"name": by.name}
    if run.state not in ACTIVE:
        return _("This answer has ended. There is nothing to decide any more.")
    if call.state != CallState.ASKED or (call.expires_at and call.expires_at <= timezone.now()):
        return _("Nobody decided in time, so this call was denied.")
    return ""


def _check_for_run(user: User, room: Room, call: ToolCall, decision: Decision) -> None:
    """Raise Forbidden unless `user` may decide for the later calls of the tool, too."""
    is_careful = decision == "deny" or not call.changes
    if not is_careful and not _manages_agents(user, room):
        sentence = _("This tool changes something outside, so each call is allowed alone.")
        raise Forbidden(sentence, team_id=room.team_id)


def _manages_agents(user: User, room: Room) -> bool:
    """Return True if `user` manages the personas of the team, and the credential allows that."""
    return ADMIN in user.scope.names and MANAGE_AGENTS in team_permissions(user, room.team)
