"""Personas that ask other personas: the tool `ask_persona`.

A call makes a run of its own, whose answer is a reply in the thread of the answer that has asked.
The run that asks waits without a worker until all runs that it has asked for have ended (`trees`).
A run that was asked for by another run cannot ask further ones, so a tree has two levels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import translation

from accounts.errors import RateLimited
from accounts.names import handle_key
from agents.models import Persona
from agents.tool_types import ToolFunction, ToolResult, ToolSpec
from agents.tools.catalog import CATALOG
from agents.tools.registry import with_unique_names
from rooms.event_log import record
from rooms.executors import RUNS, in_thread_until_stored
from rooms.models import Room, Run, ToolCall, Why
from rooms.runs import leases, queue
from rooms.runs.crews import round_steps
from rooms.runs.responders import usable_personas

KEY: Final = "ask_persona"
(_TOOL,) = (tool for tool in CATALOG if tool.key == KEY)
ASK_PERSONA: Final = _TOOL.id

MAX_ASKED: Final = 6
"""The runs that one run may ask for."""
MAX_REQUESTS: Final = 3
"""The requests of a run that may ask for other runs."""
MAX_LISTED: Final = 20
"""The personas that the description of the tool names."""

NOT_FOUND: Final = "There is no such persona in this room, or it may not be asked here."
ITSELF: Final = "You cannot ask yourself."
TOO_DEEP: Final = "You were asked by another persona, so you cannot ask others."
TOO_MANY: Final = "You have asked other personas often enough. Answer with what you have."
TOO_MANY_WAIT: Final = "Too many questions are waiting in this team. Answer with what you have."


def tools_for(run: Run, tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
    """Return the tools of a persona for one run, with `ask_persona` if the run may use it.

    A run that leads has the tool without a rule of its persona; a run that was asked for by another
    run does not have it. Its description names the personas of the room; one query if it is there.
    A call that was begun twice makes one run: the tool is idempotent.
    """
    others = tuple(tool for tool in tools if tool.id != ASK_PERSONA)
    has_rule = len(others) < len(tools)
    if run.parent_call_id is not None or not (has_rule or run.leads):
        return others
    personas = [each for each in _askable(run) if each.enabled]
    if not personas:
        return others
    listed = [f"@{each.handle} ({each.name}): {each.role}" for each in personas[:MAX_LISTED]]
    spec = ToolSpec(
        id=_TOOL.id,
        name=_TOOL.key,
        title=_TOOL.title,
        description="\n".join([_TOOL.description, "The personas of this room:", *listed]),
        parameters=_TOOL.parameters,
        reach="room",
        changes=_TOOL.changes,
        idempotent=True,
        source="own",
        key=KEY,
    )
    return tuple(with_unique_names((*others, spec)))  # a server may have a tool with this name


def functions(run_id: UUID, owner: str, attempt: int) -> Mapping[str, ToolFunction]:
    """Return the tool for `Acting.functions` of one attempt of a run."""

    async def ask_persona(call: str, arguments: Mapping[str, Any]) -> ToolResult | None:
        handle = str(arguments.get("persona", ""))
        return await in_thread_until_stored(RUNS, ask, run_id, owner, attempt, UUID(call), handle)

    return {KEY: ask_persona}


@transaction.atomic
def ask(run_id: UUID, owner: str, attempt: int, call_id: UUID, handle: str) -> ToolResult | None:
    """Queue the run of a call that has begun, and return None: its result comes later.

    Returns a failed result if the persona may not be asked, or a limit is reached. The rights are
    those of the person who has asked. Raises LeaseLost.
    """
    room, run = leases.lock_owned(run_id, owner, attempt)
    call = run.calls.get(pk=call_id)
    if call.children.exists():  # stored by the attempt before this retry
        return None
    if problem := _limit(room, run, call):
        return ToolResult(problem, failed=True)
    named = [each for each in _askable(run) if _is_named(each, handle)]
    if run.requested_by is None or run.answer is None or not named or not named[0].enabled:
        is_own = _is_named(run.persona, handle)
        return ToolResult(ITSELF if is_own else NOT_FOUND, failed=True)
    try:
        with translation.override(run.language):
            _runs, queued = queue.queue_runs(
                room,
                run.answer,
                [(named[0], Why.LED)],
                run.requested_by,
                origin=_origin(run),
                parent_call=call.pk,
            )
    except RateLimited:
        return ToolResult(TOO_MANY_WAIT, failed=True)
    record(room, *queued)
    return None


def _limit(room: Room, run: Run, call: ToolCall) -> str:
    """Return the sentence of the limit that a further question would exceed; "" for none."""
    if run.parent_call_id is not None:
        return TOO_DEEP
    asked = Run.objects.filter(parent_call__run=run).values_list("parent_call__request", flat=True)
    if len(asked) >= MAX_ASKED or len({*asked, call.request}) > MAX_REQUESTS:
        return TOO_MANY
    origin = _origin(run)
    of_message = Q(message=origin, origin=None) | Q(origin=origin)
    answers = room.runs.filter(of_message, replaces=None).count() + round_steps.count_waiting(run)
    return TOO_MANY if answers >= settings.ANSWERS_PER_MESSAGE else ""


def _askable(run: Run) -> list[Persona]:
    """Return the other personas of the room that the asker of a run may use; one query."""
    if run.requested_by_id is None:
        return []
    found = usable_personas(run.room_id, run.requested_by_id)
    return [persona for persona in found if persona.pk != run.persona_id]


def _is_named(persona: Persona, handle: str) -> bool:
    return handle_key(persona.handle) == handle_key(handle.strip().removeprefix("@"))


def _origin(run: Run) -> UUID:
    return run.origin_id or run.message_id
