"""The forms of connections and personas: what a page can know; services judge the rest."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypedDict
from uuid import UUID

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import Team, TeamRole, User
from agents.models import Connection, ConnectionKind, Lattice, Persona, Pigment
from agents.services import Grant, PersonaFields

# Between a connection's id, which has no space, and the name of a model, which may have anything.
_SEPARATOR: Final = " "


class Lines(forms.CharField):
    """A text of several lines. A browser sends each break as two characters; it counts as one."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class NewConnection(TypedDict):
    name: str
    kind: str
    base_url: str
    key: str
    models: list[str]


class ChangedConnection(TypedDict):
    name: str
    base_url: str
    key: str | None
    models: list[str]


class ConnectionForm(forms.Form):
    """A connection, new or stored. The key is never put back into the page."""

    # What a demo does not need is hidden by a script; a browser must not insist on it.
    use_required_attribute = False

    name = forms.CharField(label=_("Name"), max_length=80)
    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=ConnectionKind,
        initial=ConnectionKind.OPENAI,
        widget=forms.RadioSelect,
    )
    base_url = forms.CharField(
        label=_("Address"),
        help_text=_("Where the provider's API begins. It often ends in /v1."),
        max_length=400,
        widget=forms.TextInput(
            attrs={
                "inputmode": "url",
                "placeholder": "https://api.example.com/v1",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    key = forms.CharField(
        label=_("Key"),
        max_length=1_000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    forget_key = forms.BooleanField(label=_("Remove the stored key"), required=False)
    models = forms.CharField(
        label=_("Models"),
        help_text=_("One per line, as the provider names them. A check lists what it finds."),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        connection: Connection | None = None,
        found: Iterable[str] = (),
    ) -> None:
        super().__init__(_with_models(data, found), initial=_initial(connection))
        stored = bool(connection and connection.key_encrypted)
        self.fields["key"].help_text = (
            _("A key is stored. Leave this empty to keep it; another address drops it.")
            if stored
            else _("It is stored encrypted and never shown again.")
        )
        if not stored:
            del self.fields["forget_key"]
        if self.data.get("kind") == ConnectionKind.DEMO:
            self.fields["base_url"].required = self.fields["models"].required = False
        if connection:
            del self.fields["kind"]
        if connection and connection.kind == ConnectionKind.DEMO:
            for name in ("base_url", "key", "models"):
                del self.fields[name]

    def new_values(self) -> NewConnection:
        """What `create_connection` takes."""
        return NewConnection(
            name=self.cleaned_data["name"],
            kind=self.cleaned_data["kind"],
            base_url=self.cleaned_data["base_url"],
            key=self.cleaned_data["key"],
            models=self.cleaned_data["models"].splitlines(),
        )

    def changed_values(self) -> ChangedConnection:
        """What `update_connection` takes: no key means that the stored one stays."""
        values = self.cleaned_data
        forget = values.get("forget_key", False)
        return ChangedConnection(
            name=values["name"],
            base_url=values.get("base_url", ""),
            key=values.get("key") or ("" if forget else None),
            models=values.get("models", "").splitlines(),
        )


class GrantsForm(forms.Form):
    """Who may do what with a persona: the team, its members, its guests, and single people."""

    LEVELS: Final = (
        ("", _("Nothing")),
        ("use", _("Use")),
        ("share", _("Use and share")),
        ("edit", _("Use and edit")),
        ("manage", _("Use, edit and manage")),
        ("manage share", _("Everything")),
    )
    ROLES: Final = (
        ("team", _("The whole team"), ""),
        ("members", _("Members"), TeamRole.MEMBER),
        ("guests", _("Guests"), TeamRole.GUEST),
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        grants: Iterable[Grant],
        people: Iterable[User],
    ) -> None:
        super().__init__(data)
        grants = list(grants)
        held = {grant.holder: grant.rights for grant in grants}
        self._holders: dict[str, tuple[UUID | None, str]] = {}
        for name, label, role in self.ROLES:
            self._add(name, label, (None, role), held)
        for person in people:
            self._add(f"person-{person.pk}", person.name, (person.pk, ""), held)
        shown = set(self._holders.values())
        self._unshown = [grant for grant in grants if grant.holder not in shown]

    def grants(self) -> list[Grant]:
        """What `put_grants` takes; what the form does not show stays."""
        return self._unshown + [
            Grant(frozenset(self.cleaned_data[name].split()), *holder)
            for name, holder in self._holders.items()
            if self.cleaned_data[name]
        ]

    def _add(
        self,
        name: str,
        label: str | Promise,
        holder: tuple[UUID | None, str],
        held: Mapping[tuple[UUID | None, str], frozenset[str]],
    ) -> None:
        rights = held.get(holder, frozenset())
        highest = [level for level, _label in self.LEVELS if set(level.split()) <= rights]
        self.fields[name] = forms.ChoiceField(
            label=str(label), choices=self.LEVELS, initial=highest[-1], required=False
        )
        self._holders[name] = holder


def _with_models(data: Mapping[str, Any] | None, found: Iterable[str]) -> Mapping[str, Any] | None:
    """The form's data, its empty list of models filled with those that a check has found."""
    if data is None or str(data.get("models", "")).strip():
        return data
    return {name: data[name] for name in data} | {"models": "\n".join(found)}


def _initial(connection: Connection | None) -> dict[str, str]:
    if connection is None:
        return {}
    return {
        "name": connection.name,
        "base_url": connection.base_url,
        "models": "\n".join(connection.model_names),
    }


class PersonaForm(forms.Form):
    """A persona, new or stored; its model is chosen together with the connection that has it."""

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
        label=_("Pigment"),
        choices=Pigment,
        initial=Pigment.NOEROK,
        widget=forms.RadioSelect,
    )
    lattice = forms.ChoiceField(
        label=_("Lattice"),
        choices=Lattice,
        initial=Lattice.GYEOKSAL,
        widget=forms.RadioSelect,
    )
    goal = Lines(
        label=_("Goal"),
        help_text=_("The one thing each answer should achieve."),
        max_length=400,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    backstory = Lines(
        label=_("Backstory"),
        help_text=_("Voice, and lines it must not cross."),
        max_length=2_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    instructions = Lines(
        label=_("Instructions"),
        help_text=_("How to answer: steps, form, what to leave out."),
        max_length=8_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    model = forms.ChoiceField(label=_("Model"), help_text=_("Through one of the connections."))
    temperature = forms.FloatField(
        label=_("Temperature"),
        help_text=_("From 0, steady, to 2, free."),
        min_value=0,
        max_value=2,
        required=False,
        widget=forms.NumberInput(attrs={"step": "0.1"}),
    )
    max_output_tokens = forms.IntegerField(
        label=_("Longest answer, in tokens"),
        help_text=_("A word is one or two of them."),
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
    ) -> None:
        super().__init__(data, initial=_initial_persona(persona))
        model = self.fields["model"]
        assert isinstance(model, forms.ChoiceField)
        model.choices = _model_choices(team.connections.all(), persona)

    def values(self) -> PersonaFields:
        """What `create_persona` and `update_persona` take."""
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
        )


def _initial_persona(persona: Persona | None) -> dict[str, object]:
    if persona is None:
        return {}
    plain = (name for name in PersonaForm.base_fields if name != "model")
    return {name: getattr(persona, name) for name in plain} | {
        "model": f"{persona.connection_id}{_SEPARATOR}{persona.model}"
    }


def _model_choices(
    connections: Iterable[Connection], persona: Persona | None
) -> list[tuple[str, str]]:
    """The models of each connection, and the persona's own even where it is listed no more."""
    choices = []
    for connection in connections:
        names = list(connection.model_names)
        if persona and persona.connection_id == connection.pk and persona.model not in names:
            names.append(persona.model)
        choices += [
            (f"{connection.pk}{_SEPARATOR}{name}", f"{connection.name} / {name}") for name in names
        ]
    return choices
