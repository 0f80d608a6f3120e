"""The tools of a persona, which are part of its versions."""

from collections.abc import Sequence
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
    Forbidden if `user` may not let the persona use one of them without asking.
    """
    held = {each.tool: each for each in list_tools(persona)}
    chosen = {each.tool: each for each in wanted}
    if len(chosen) != len(wanted):
        reject("tools", _("Name each tool once."))
    if sum(each.policy != ToolPolicy.NEVER for each in wanted) > MAX_TOOLS:
        reject("tools", _("A persona can have at most %(limit)s tools.") % {"limit": MAX_TOOLS})
    found = existing(persona.team, [each.tool for each in wanted])
    if len(found) < len(wanted):
        raise NotFound
    freed = [
        tool
        for tool, each in chosen.items()
        if found[tool] and each.policy == ToolPolicy.ALWAYS and not _is_free(held.get(tool))
    ]
    if freed and MANAGE not in team_permissions(user, persona.team):
        raise Forbidden(
            _("Only a team admin may choose Always for a tool that changes something outside."),
            team_id=persona.team_id,
        )
    if chosen == held:
        return
    persona.tool_policies.all().delete()
    PersonaTool.objects.bulk_create(
        PersonaTool(persona=persona, tool=tool, policy=each.policy, deciders=each.deciders)
        for tool, each in chosen.items()
    )


def restorable(persona: Persona, stored: Sequence[dict[str, str]]) -> list[ToolChoice]:
    """Return the tools of a version, without those that do not exist any more."""
    choices = [ToolChoice(UUID(e["tool"]), e["policy"], e["deciders"]) for e in stored]
    found = existing(persona.team, [each.tool for each in choices])
    return [each for each in choices if each.tool in found]


def _is_free(choice: ToolChoice | None) -> bool:
    return choice is not None and choice.policy == ToolPolicy.ALWAYS
