"""The forms of a persona and of its grants.

The forms check single values; the services check all rules.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.datastructures import MultiValueDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import Team, TeamRole, User
from agents.models import Connection, Lattice, Persona, Pigment
from agents.services import Grant, PersonaFields
from agents.services.grants import MAX_GRANTS, Grantee
from agents.services.persona_yaml import MAX_BYTES
from agents.services.personas import unlike_others
from agents.views.tool_fields import ToolFields

# Separates the id of the connection, which contains no space, from the name of the model, which
# may contain spaces.
_SEPARATOR: Final = " "
_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class MultilineField(forms.CharField):
    """A text area. A line break counts as one character, although browsers send it as CRLF."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class PersonaForm(forms.Form):
    """A new or stored persona; the choice of a model includes its connection."""

    name = forms.CharField(label=_("Name"), max_length=40)
    handle = forms.CharField(
        label=_("Handle"),
        max_length=41,
        required=False,
        widget=forms.TextInput(
            attrs={"class": "input", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    role = forms.CharField(label=_("Role"), max_length=80)
    pigment = forms.ChoiceField(
        label=_("Colour"),
        choices=Pigment,
        widget=forms.RadioSelect,
    )
    lattice = forms.ChoiceField(
        label=_("Pattern"),
        choices=Lattice,
        widget=forms.RadioSelect,
    )
    goal = MultilineField(
        label=_("Goal"),
        help_text=_("What each answer should achieve."),
        max_length=400,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    backstory = MultilineField(
        label=_("Backstory"),
        help_text=_("Character, tone, and what the persona must not do."),
        max_length=2_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    instructions = MultilineField(
        label=_("Instructions"),
        help_text=_("How to answer: steps, format, what to leave out."),
        max_length=8_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    model = forms.ChoiceField(
        label=_("Model"), help_text=_("A model of one of the team's connections.")
    )
    temperature = forms.FloatField(
        label=_("Temperature"),
        help_text=_("From 0 (predictable) to 2 (creative)."),
        min_value=0,
        max_value=2,
        required=False,
        widget=forms.NumberInput(attrs={"step": "0.1"}),
    )
    max_output_tokens = forms.IntegerField(
        label=_("Maximum length of an answer, in tokens"),
        help_text=_("A word is about one or two tokens."),
        min_value=1,
        max_value=200_000,
        required=False,
    )
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        team: Team,
        persona: Persona | None = None,
        may_free_tools: bool,
    ) -> None:
        super().__init__(data, initial=_initial_persona(team, persona))
        self.tools = ToolFields(self, team, persona, may_free=may_free_tools)
        model = self.fields["model"]
        assert isinstance(model, forms.ChoiceField)
        model.choices = _model_choices(team.connections.all(), persona)

    def values(self) -> PersonaFields:
        """Return the arguments of `create_persona` and `update_persona`."""
        values = self.cleaned_data
        connection, _between, model = values["model"].partition(_SEPARATOR)
        return PersonaFields(
            name=values["name"],
            handle=values["handle"],
            role=values["role"],
            goal=values["goal"],
            backstory=values["backstory"],
            instructions=values["instructions"],
            connection=UUID(connection),
            model=model,
            temperature=values["temperature"],
            max_output_tokens=values["max_output_tokens"],
            pigment=values["pigment"],
            lattice=values["lattice"],
            tools=self.tools.choices(),
        )


def _initial_persona(team: Team, persona: Persona | None) -> dict[str, object]:
    if persona is None:
        return dict(zip(("pigment", "lattice"), unlike_others(team), strict=True))
    plain = (name for name in PersonaForm.base_fields if name != "model")
    return {name: getattr(persona, name) for name in plain} | {
        "model": f"{persona.connection_id}{_SEPARATOR}{persona.model}"
    }


def _model_choices(
    connections: Iterable[Connection], persona: Persona | None
) -> list[tuple[str, str]]:
    """Return the models of all connections, and the persona's model even if it was removed."""
    choices = []
    for connection in connections:
        names = list(connection.model_names)
        if persona and persona.connection_id == connection.pk and persona.model not in names:
            names.append(persona.model)
        choices += [
            (f"{connection.pk}{_SEPARATOR}{name}", f"{connection.name} / {name}") for name in names
        ]
    return choices


class ImportForm(forms.Form):
    """Personas as YAML, typed or as files; the services check the texts."""

    agents = forms.CharField(
        label=_("Personas as YAML"),
        help_text=_("The agents.yaml of CrewAI, or a list of personas with their fields."),
        required=False,
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false"}),
    )
    agents_file = forms.FileField(label=_("Or the file agents.yaml"), required=False)
    tasks = forms.CharField(
        label=_("Tasks as YAML"),
        help_text=_(
            "The tasks.yaml of CrewAI. The tasks become instructions of their personas, and give "
            "their order."
        ),
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )
    tasks_file = forms.FileField(label=_("Or the file tasks.yaml"), required=False)
    model = forms.ChoiceField(
        label=_("Model"),
        help_text=_("For personas whose entry names no model of the same connection."),
        required=False,
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        files: MultiValueDict[str, UploadedFile[bytes]] | None = None,
        *,
        team: Team,
    ) -> None:
        super().__init__(data, files)
        model = self.fields["model"]
        assert isinstance(model, forms.ChoiceField)
        first = ("", _("The first model of the first connection"))
        model.choices = [first, *_model_choices(team.connections.all(), None)]

    def clean_agents_file(self) -> str:
        """Return the text of the file; "" without one."""
        return self._text_of("agents_file")

    def clean_tasks_file(self) -> str:
        """Return the text of the file; "" without one."""
        return self._text_of("tasks_file")

    def _text_of(self, name: str) -> str:
        file = self.cleaned_data[name]
        if file is None:
            return ""
        if file.size > MAX_BYTES:
            raise forms.ValidationError(_("The file is larger than 256 KB."))
        try:
            text: str = file.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise forms.ValidationError(_("The file is not a text in UTF-8.")) from None
        return text

    def values(self) -> dict[str, Any]:
        """Return the arguments of `import_personas`; a file counts more than a typed text."""
        values = self.cleaned_data
        found = {name: values[f"{name}_file"] or values[name] for name in ("agents", "tasks")}
        if values["model"]:
            connection, _between, model = values["model"].partition(_SEPARATOR)
            found |= {"connection": UUID(connection), "model": model}
        return found


class GrantsForm(forms.Form):
    """The grants of a persona to the team, to its members, to its guests and to single users."""

    LEVELS: Final = (
        ("", _("No permissions")),
        ("use", _("Use")),
        ("share", _("Use and share")),
        ("edit", _("Use and edit")),
        ("manage", _("Use, edit and manage")),
        ("manage share", _("All permissions")),
    )
    ROLES: Final = (
        ("team", _("The whole team"), ""),
        ("members", _("Members"), TeamRole.MEMBER),
        ("guests", _("Guests"), TeamRole.GUEST),
    )

    PERSON: Final = "person-"

    @classmethod
    def people_in(cls, sent: Iterable[str]) -> list[UUID]:
        """Return the ids of the people whose fields are among the names of a sent form."""
        ids = [name.removeprefix(cls.PERSON) for name in sent if name.startswith(cls.PERSON)]
        return [UUID(pk) for pk in ids if _UUID.fullmatch(pk)][:MAX_GRANTS]

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        grants: Iterable[Grant],
        people: Iterable[User],
    ) -> None:
        super().__init__(data)
        grants = list(grants)
        held = {grant.grantee: grant.rights for grant in grants}
        self._grantees: dict[str, Grantee] = {}
        for name, label, role in self.ROLES:
            self._add_field(name, label, (None, role), held)
        for person in people:
            named = f"{person.name} (@{person.handle})"
            self._add_field(f"{self.PERSON}{person.pk}", named, (person.pk, ""), held)
        shown = set(self._grantees.values())
        self._hidden_grants = [grant for grant in grants if grant.grantee not in shown]

    def grants(self) -> list[Grant]:
        """Return the grants for `put_grants`, including the grants that the form does not show."""
        return self._hidden_grants + [
            Grant(frozenset(self.cleaned_data[name].split()), *grantee)
            for name, grantee in self._grantees.items()
            if self.cleaned_data[name]
        ]

    def _add_field(
        self,
        name: str,
        label: str | Promise,
        grantee: Grantee,
        held: Mapping[Grantee, frozenset[str]],
    ) -> None:
        rights = held.get(grantee, frozenset())
        levels = [level for level, _label in self.LEVELS if set(level.split()) <= rights]
        self.fields[name] = forms.ChoiceField(
            label=str(label), choices=self.LEVELS, initial=levels[-1], required=False
        )
        self._grantees[name] = grantee
