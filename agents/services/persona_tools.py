"""The tools of a persona, which are part of its versions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.utils.translation import gettext as _

from accounts.errors import Forbidden, NotFound
from accounts.models import User
from accounts.permissions import team_permissions
from agents.models import Deciders, Persona, PersonaTool, ToolPolicy
from agents.permissions import MANAGE
from agents.services.validation import reject
from agents.tools.registry import existing

MAX_TOOLS: Final = 40
"""The tools of a persona: a model chooses worse among more, and each costs tokens."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """When a persona may use a tool, and who decides on a call if the policy is to ask."""

    tool: UUID
    policy: str
    deciders: str = Deciders.ASKER

    def as_json(self) -> dict[str, str]:
        """Return the choice as a version stores it."""
        return {"tool": str(self.tool), "policy": self.policy, "deciders": self.deciders}


def list_tools(persona: Persona) -> list[ToolChoice]:
    """Return the policies of a persona's tools, ordered by id. The caller must check the access.

    A tool without a policy is never used, as one with the policy `never`.
    """
    rows = persona.tool_policies.order_by("tool")
    return [ToolChoice(row.tool, row.policy, row.deciders) for row in rows]


def replace_tools(user: User, persona: Persona, wanted: Sequence[ToolChoice]) -> None:
    """Replace the tools of a persona that the caller has locked.

    Raises NotFound for a tool that the team does not have, Invalid for too many tools, and
    Forbidden if only a team admin may choose this: `always` for a tool that needs an admin
    (`TeamTool.needs_admin`), or to let others than moderators decide where they do.
    """
    rows = {row.tool: row for row in persona.tool_policies.all()}
    held = {tool: ToolChoice(tool, row.policy, row.deciders) for tool, row in rows.items()}
    chosen = {each.tool: each for each in wanted}
    if len(chosen) != len(wanted):
        reject("tools", _("Name each tool once."))
    if sum(each.policy != ToolPolicy.NEVER for each in wanted) > MAX_TOOLS:
        reject("tools", _("A persona can have at most %(limit)s tools.") % {"limit": MAX_TOOLS})
    found = existing(persona.team, [each.tool for each in wanted])
    if len(found) < len(wanted):
        raise NotFound
    is_admin = MANAGE in team_permissions(user, persona.team)
    if not is_admin:
        chosen |= _kept_for_editor(rows, chosen)
        needing = {tool for tool, needs_admin in found.items() if needs_admin}
        _check_for_editor(persona, rows, chosen, needing)
    if chosen == held:
        return
    persona.tool_policies.all().delete()
    PersonaTool.objects.bulk_create(
        PersonaTool(persona=persona, tool=tool, policy=each.policy, deciders=each.deciders)
        for tool, each in chosen.items()
    )


def moderated_tools(persona: Persona) -> set[UUID]:
    """Return the tools that the persona has or had, and on whose calls moderators decide."""
    return {row.tool for row in persona.tool_policies.all() if _is_moderated(row)}


def _kept_for_editor(
    rows: Mapping[UUID, PersonaTool], chosen: Mapping[UUID, ToolChoice]
) -> dict[UUID, ToolChoice]:
    """Return the tools that an editor removes, or never lets the persona use.

    Moderators still decide on their calls if the editor adds them again.
    """
    return {
        tool: ToolChoice(tool, ToolPolicy.NEVER, row.deciders)
        for tool, row in rows.items()
        if _is_moderated(row) and (tool not in chosen or chosen[tool].policy == ToolPolicy.NEVER)
    }


def _check_for_editor(
    persona: Persona,
    rows: Mapping[UUID, PersonaTool],
    chosen: Mapping[UUID, ToolChoice],
    needing: Collection[UUID],
) -> None:
    """Raise Forbidden if an editor who is no team admin may not choose these tools."""
    for tool, each in chosen.items():
        row = rows.get(tool)
        is_always = each.policy == ToolPolicy.ALWAYS
        was_always = row is not None and row.policy == ToolPolicy.ALWAYS
        if is_always and not was_always and tool in needing:
            raise Forbidden(
                _(
                    "Only a team admin may choose Always for a tool that changes something outside,"
                    " or that can tell others what is asked."
                ),
                team_id=persona.team_id,
            )
        is_looser = is_always or each.deciders != Deciders.MODERATORS
        if is_looser and row is not None and _is_moderated(row) and not was_always:
            raise Forbidden(
                _(
                    "Moderators decide on the calls of this tool."
                    " Only a team admin may change that."
                ),
                team_id=persona.team_id,
            )


def _is_moderated(row: PersonaTool) -> bool:
    return row.deciders == Deciders.MODERATORS


def restorable(persona: Persona, stored: Sequence[dict[str, str]]) -> list[ToolChoice]:
    """Return the tools of a version, without those that do not exist any more."""
    choices = [ToolChoice(UUID(e["tool"]), e["policy"], e["deciders"]) for e in stored]
    found = existing(persona.team, [each.tool for each in choices])
    return [each for each in choices if each.tool in found]
