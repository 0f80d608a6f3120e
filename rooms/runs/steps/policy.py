"""Who and what decides whether a tool call may run: the policy of persona and tool, and people.

Each question is asked twice: when a call is proposed, and again before it runs, because hours may
lie between. The rights of the asker are those of the run (`rooms.runs.crews.rights.unauthorized`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts.models import User
from agents.models import Deciders, PersonaTool, ToolPolicy
from agents.tools.registry import ToolStatus, statuses
from rooms.models import (
    ACTIVE,
    CallState,
    Denial,
    Room,
    RoomPermission,
    RoomRole,
    Run,
    Steer,
    SteerState,
    ToolCall,
)
from rooms.permissions import MODERATE, POST, users_with
from rooms.runs.crews import led

MAX_ASKED: Final = 50
"""The most people that an approval names; moderators who are not named may decide, too."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a persona may do with a tool: its policy, and who decides; and how the tool is now."""

    tool: UUID
    policy: str
    deciders: str
    status: ToolStatus


def rules_of(run: Run, tools: Collection[UUID]) -> dict[UUID, Rule]:
    """Return what the persona of a run may do with those of `tools` that it has; see `denial_of`.

    A run that leads may ask other personas without a rule; one that was asked for by another run
    may not.
    """
    if not tools:
        return {}
    rules = PersonaTool.objects.filter(persona=run.persona_id, tool__in=tools)
    found = {rule.tool: rule for rule in rules.exclude(policy=ToolPolicy.NEVER)}
    if run.parent_call_id is not None:
        found.pop(led.ASK_PERSONA, None)
    elif run.leads and led.ASK_PERSONA in tools:
        always = PersonaTool(tool=led.ASK_PERSONA, policy=ToolPolicy.ALWAYS)
        found.setdefault(led.ASK_PERSONA, always)
    now = statuses(run.team_id, found)
    return {
        tool: Rule(tool, rule.policy, rule.deciders, now[tool])
        for tool, rule in found.items()
        if tool in now
    }


LastLine = Callable[[], int | None]
"""Returns what `last_line_of_others` returns for the run and the request of calls."""


def denial_of(call: ToolCall, rule: Rule | None) -> Denial | None:
    """Return why a call may not run, also if people allow it; None if it may.

    A call is bound to the definition of its tool that the model had: people have decided on what
    that definition says.
    """
    if rule is None:
        return Denial.NOT_ALLOWED
    if call.definition_sha256 not in ("", rule.status.sha256):
        return Denial.CHANGED
    return None if rule.status.is_usable else Denial.NOT_ALLOWED


def is_free(call: ToolCall, rule: Rule, steered: LastLine) -> bool:
    """Return True if the rule of a tool lets a call run without a decision of people.

    A personal call asks its asker once another user has steered the run: the arguments may be those
    of the other.
    """
    if rule.policy != ToolPolicy.ALWAYS:
        return False
    return not call.personal or steered() is None


def refusal(run: Run, call: ToolCall) -> Denial | None:
    """Return why an allowed call may not run as its persona and its tool are now; None if it may.

    A call that its policy had allowed does not run if the policy asks people by now, nor a personal
    call that another user than the asker has allowed.
    """
    rule = rules_of(run, [call.tool]).get(call.tool) if call.tool else None
    denial = denial_of(call, rule)
    if denial or rule is None:
        return denial
    return None if _complies(call, run, rule) else Denial.NOT_ALLOWED


def _complies(call: ToolCall, run: Run, rule: Rule) -> bool:
    if call.decided_by_id is None:
        return is_free(call, rule, partial(last_line_of_others, run, call.request))
    return not call.personal or call.decided_by_id == run.requested_by_id


def last_line_of_others(run: Run, before: int) -> int | None:
    """Return after which request another user than the asker has steered a run last.

    Only lines that the request `before` contains count. -1 is before the first request; None says
    that there is no line. A line to an answer that the model of this run gets counts as one to this
    run: to an answer that the run has asked for, with its result; to the run that has asked for
    this one, or to another answer of its chain or round, before the first request.
    """
    others = Steer.objects.filter(state=SteerState.APPLIED).exclude(user=run.requested_by_id)
    lines = others.filter(run=run.pk).values_list("request", flat=True)
    found = [-1 if after is None else after for after in lines]
    of_asked = others.filter(run__parent_call__run=run.pk)
    found += of_asked.values_list("run__parent_call__request", flat=True)
    if others.filter(run__in=_read_before(run)).exists():
        found.append(-1)
    return max((after for after in found if after < before), default=None)


def _read_before(run: Run) -> QuerySet[Run]:
    """Return the other runs of the tree, the chain and the round of a run: its first request may
    contain their answers. Those that it has asked for are left out."""
    related = Q(pk=None)
    if run.parent_call is not None:
        related |= Q(pk=run.parent_call.run_id)
    if run.origin_id is not None:
        related |= Q(origin=run.origin_id) | Q(message=run.origin_id)
    if run.round_id is not None:
        related |= Q(round=run.round_id)
    found = Run.objects.filter(related).exclude(pk=run.pk)
    return found.exclude(parent_call__run=run.pk)


def deciders(room: Room, run: Run, rule: str, *, personal: bool) -> list[UUID]:
    """Return the users who may decide on the calls of a run, at most MAX_ASKED: the asker first.

    `rule` is one of `Deciders`.
    """
    moderators = room.members.active().filter(role__in=(RoomRole.OWNER, RoomRole.MODERATOR))
    asked = list(moderators.order_by("joined_at", "pk").values_list("user", flat=True)[:MAX_ASKED])
    if run.requested_by_id is not None and run.requested_by_id not in asked:
        asked.append(run.requested_by_id)
    allowed = may_decide(room, run, rule, asked, personal=personal)
    found = [user for user in asked if user in allowed]
    found.sort(key=lambda user: user != run.requested_by_id)
    return found[:MAX_ASKED]


def may_decide(
    room: Room, run: Run, rule: str, users: Collection[UUID], *, personal: bool
) -> set[UUID]:
    """Return those of these users who may decide on the calls of a run; at most two queries.

    Moderators of the room may. With the rule `asker` the asker may, too, unless the room wants
    another person to decide. Of all these, only the asker may decide on a `personal` call.
    """
    asker = run.requested_by_id
    if personal:
        users = [user for user in users if user == asker]
    others = [user for user in users if user != asker]
    if asker not in users:
        return users_with(MODERATE, room, others)
    if asker is None or room.other_decides:
        return users_with(MODERATE, room, others)
    found = users_with(MODERATE, room, users)
    if asker not in found and rule == Deciders.ASKER:
        found |= users_with(POST, room, [asker])
    return found


def calls_to_decide(user: User) -> QuerySet[ToolCall]:
    """Return the calls that ask for a decision and on which `user` may decide; see `may_decide`.

    The scope of the user's credential limits them to its team.
    """
    mine = RoomPermission.objects.filter(user_id=user.pk)
    moderated = mine.filter(permission__codename=MODERATE).values("content_object")
    written = mine.filter(permission__codename=POST).values("content_object")
    moderates, writes = Q(run__room__in=moderated), Q(run__room__in=written)
    is_asker = Q(run__requested_by=user.pk)
    as_asker = Q(run__room__other_decides=False) & (moderates | writes & Q(deciders=Deciders.ASKER))
    rooms = Room.objects.visible_to(user).filter(archived_at=None)
    # The state of the run leads from the rooms to their few unended runs (`run_unended_in_room`).
    return ToolCall.objects.asked().filter(
        is_asker & as_asker | ~is_asker & moderates & Q(personal=False),
        expires_at__gt=Now(),
        run__room__in=rooms,
        run__state__in=ACTIVE,
    )


def holds_for(earlier: ToolCall, call: ToolCall) -> bool:
    """Return True if a decision for the run, made on an earlier call of the tool, holds for a call.

    The tool may have another definition since, be personal, or change something: that needs a
    decision of its own, because the person has read the other definition, or because other people
    may make it. A denial holds for all definitions.
    """
    if call.personal and not earlier.personal:
        return False
    if earlier.state == CallState.DENIED:
        return True
    is_same = earlier.definition_sha256 == call.definition_sha256
    return is_same and (earlier.changes or not call.changes)


def decided_for_run(
    room: Room, run: Run, tools: Collection[UUID], steered: LastLine
) -> dict[UUID, ToolCall]:
    """Return by tool the earlier call of a run whose decision holds for the calls of a request.

    A decision ends with the right of the person who made it, and with the next line by which
    another user than the asker steers the run. The number of queries does not depend on the number
    of decisions.
    """
    if not tools:
        return {}
    held = run.calls.filter(tool__in=tools, for_run=True, decided_by__isnull=False)
    calls = list(held.order_by("decided_at"))
    after = steered() if calls else None
    calls = [call for call in calls if after is None or call.request > after]
    by_rule: defaultdict[tuple[str, bool], set[UUID]] = defaultdict(set)
    for call in calls:
        if call.decided_by_id is not None:
            by_rule[call.deciders, call.personal].add(call.decided_by_id)
    may = {
        (rule, personal): may_decide(room, run, rule, users, personal=personal)
        for (rule, personal), users in by_rule.items()
    }
    return {
        call.tool: call
        for call in calls
        if call.tool is not None and call.decided_by_id in may[call.deciders, call.personal]
    }
