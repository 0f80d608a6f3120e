"""The fields of a persona's tools: a choice for each tool, and who decides on calls that ask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django import forms
from django.forms.boundfield import BoundField
from django.utils.translation import gettext_lazy as _

from accounts.models import Team
from agents.models import Deciders, Persona, Reach, ToolPolicy
from agents.services import ToolChoice, list_tools
from agents.services.persona_tools import moderated_tools
from agents.tools.catalog import OWN_TOOLS
from agents.tools.registry import TeamTool, existing, tools_of_team

PREFIX: Final = "tool-"
DECIDERS: Final = "deciders"


class Locking(forms.widgets.ChoiceWidget):
    """A widget of which the option `locked` is disabled if `is_locked`."""

    locked: str
    is_locked = False

    def create_option(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(*args, **kwargs)
        if self.is_locked and option["value"] == self.locked:
            option["attrs"]["disabled"] = True
        return option


class PolicySelect(Locking, forms.RadioSelect):
    locked = ToolPolicy.ALWAYS


class DecidersSelect(Locking, forms.Select):
    locked = Deciders.ASKER


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool in the form; `is_locked` if the reader may not choose `always`."""

    tool: TeamTool
    field: BoundField
    is_locked: bool

    @property
    def reach(self) -> str:
        """How far the tool reaches, in words; the summary of a tool of our own says it."""
        return "" if self.tool.id in OWN_TOOLS else str(Reach(self.tool.reach).label)


class ToolFields:
    """The tools of a persona as fields of a form."""

    def __init__(
        self, form: forms.Form, team: Team, persona: Persona | None, *, may_free: bool
    ) -> None:
        self._form = form
        held = {each.tool: each for each in list_tools(persona)} if persona else {}
        moderated = moderated_tools(persona) if persona else set()
        self._tools = tools_of_team(team)
        for tool in self._tools:
            policy = ToolPolicy.NEVER if persona else tool.suggested
            if tool.id in held:
                policy = ToolPolicy(held[tool.id].policy)
            select = PolicySelect()
            is_guarded = (tool.needs_admin or tool.id in moderated) and not may_free
            select.is_locked = is_guarded and policy != ToolPolicy.ALWAYS
            form.fields[_name(tool.id)] = forms.ChoiceField(
                label=tool.title,
                choices=ToolPolicy.choices,
                initial=policy,
                required=False,
                widget=select,
            )
        shown = {tool.id for tool in self._tools}
        # A server may list a tool again, and the persona then uses it again.
        hidden = held.keys() - shown
        kept = existing(team, hidden) if hidden else {}
        self._kept = [each for tool, each in held.items() if tool in kept]
        self._never = {tool for tool, each in held.items() if each.policy == ToolPolicy.NEVER}
        self.is_deciders_locked = bool(moderated) and not may_free
        deciders = DecidersSelect()
        deciders.is_locked = self.is_deciders_locked
        form.fields[DECIDERS] = forms.ChoiceField(
            label=_("Who decides"),
            help_text=_("For the tools that are set to Ask."),
            choices=Deciders.choices,
            initial=Deciders.MODERATORS if moderated else Deciders.ASKER,
            required=False,
            widget=deciders,
        )

    def rows(self) -> Iterator[ToolRow]:
        """Yield the tools with their fields."""
        for tool in self._tools:
            field = self._form[_name(tool.id)]
            select = field.field.widget
            yield ToolRow(tool, field, isinstance(select, PolicySelect) and select.is_locked)

    def choices(self) -> Sequence[ToolChoice]:
        """Return the tools that the persona may use, and those with the policy `never`.

        A field that was not sent does not change.
        """
        deciders = self._value(DECIDERS)
        policies = {tool.id: self._value(_name(tool.id)) for tool in self._tools}
        chosen = [
            ToolChoice(tool, policy, deciders)
            for tool, policy in policies.items()
            if policy != ToolPolicy.NEVER or tool in self._never
        ]
        return chosen + self._kept

    def _value(self, name: str) -> str:
        return str(self._form.cleaned_data[name] or self._form.fields[name].initial)


def _name(tool: UUID) -> str:
    return f"{PREFIX}{tool}"
