"""The form of a connection. The form checks single values; the services check all rules."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from django import forms
from django.utils.translation import gettext_lazy as _

from agents.models import Connection, ConnectionKind
from agents.views.server_fields import address_field, secret_field


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
    """A new or stored connection. The stored key is never written into the page."""

    # A script hides the fields that a demo does not need; the browser must not require them.
    use_required_attribute = False

    name = forms.CharField(label=_("Name"), max_length=80)
    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=ConnectionKind,
        initial=ConnectionKind.OPENAI,
        widget=forms.RadioSelect,
    )
    base_url = address_field(
        _("The address of the provider's API. It often ends in /v1."),
        placeholder="https://api.example.com/v1",
    )
    key = secret_field(_("Key"), length=1_000)
    forget_key = forms.BooleanField(label=_("Remove the stored key"), required=False)
    models = forms.CharField(
        label=_("Models"),
        help_text=_(
            "One name per line. A check fills in the provider's models if this field is empty."
        ),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        connection: Connection | None = None,
        listed_models: Iterable[str] = (),
    ) -> None:
        if data is not None and not str(data.get("models", "")).strip():
            # The user has entered no model: fill in the models that the check has found.
            data = {name: data[name] for name in data} | {"models": "\n".join(listed_models)}
        super().__init__(data, initial=_initial(connection))
        stored = bool(connection and connection.key_encrypted)
        self.fields["key"].help_text = (
            _("A key is stored. Leave this empty to keep it; another server's address removes it.")
            if stored
            else _("The key is stored encrypted and never shown again.")
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
        """Return the arguments of `create_connection`."""
        return NewConnection(
            name=self.cleaned_data["name"],
            kind=self.cleaned_data["kind"],
            base_url=self.cleaned_data["base_url"],
            key=self.cleaned_data["key"],
            models=self.cleaned_data["models"].splitlines(),
        )

    def changed_values(self) -> ChangedConnection:
        """Return the arguments of `update_connection`; `key` is None to keep the stored key."""
        values = self.cleaned_data
        forget = values.get("forget_key", False)
        return ChangedConnection(
            name=values["name"],
            base_url=values.get("base_url", ""),
            key=values.get("key") or ("" if forget else None),
            models=values.get("models", "").splitlines(),
        )


def _initial(connection: Connection | None) -> dict[str, str]:
    if connection is None:
        return {}
    return {
        "name": connection.name,
        "base_url": connection.base_url,
        "models": "\n".join(connection.model_names),
    }
