"""The form of an MCP server. The form checks single values; the services check all rules."""

from collections.abc import Mapping
from typing import Any, TypedDict

from django import forms
from django.utils.translation import gettext_lazy as _

from agents.models import McpAuth, McpServer
from agents.services.mcp_secrets import header_names
from agents.views.server_fields import address_field, secret_field


class NewServer(TypedDict):
    name: str
    url: str
    auth: str
    personal: bool
    headers: dict[str, str]
    token: str
    client_id: str
    client_secret: str


class ChangedServer(TypedDict):
    name: str
    url: str
    auth: str
    personal: bool
    enabled: bool
    headers: dict[str, str] | None
    token: str | None
    client_id: str | None
    client_secret: str


class McpServerForm(forms.Form):
    """A new or stored server. Stored secrets are never written into the page."""

    use_required_attribute = False

    name = forms.CharField(label=_("Name"), max_length=80)
    url = address_field(
        _("The address of an MCP server over HTTP. It often ends in /mcp."),
        placeholder="https://tools.example.com/mcp",
    )
    auth = forms.ChoiceField(
        label=_("Access"), choices=McpAuth, initial=McpAuth.NONE, widget=forms.RadioSelect
    )
    personal = forms.BooleanField(
        label=_("Each person signs in"),
        help_text=_("For a sign-in: a persona then acts for the person who asks it."),
        required=False,
    )
    token = secret_field(_("Token"), _("For a bearer token. It is stored encrypted."), length=2_000)
    headers = forms.CharField(
        label=_("Headers"),
        help_text=_("One per line, for example X-Api-Key: 123. They are stored encrypted."),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocomplete": "off"}),
    )
    client_id = forms.CharField(
        label=_("Client ID"),
        help_text=_("For a sign-in, only if the server registers no clients by itself."),
        required=False,
        max_length=2_000,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    client_secret = secret_field(_("Client secret"), length=2_000)
    enabled = forms.BooleanField(label=_("Personas may use its tools"), required=False)
    forget = forms.BooleanField(label=_("Remove the stored token and headers"), required=False)

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, server: McpServer | None = None
    ) -> None:
        super().__init__(data, initial=_initial(server))
        if server is None:
            del self.fields["enabled"]
        if server is None or not server.headers_encrypted:
            del self.fields["forget"]
        else:
            names = ", ".join(header_names(server))
            self.fields["headers"].help_text = _(
                "Stored: %(names)s. Leave this empty to keep them; another server's address "
                "removes them."
            ) % {"names": names}

    def clean_headers(self) -> dict[str, str]:
        """Return the headers of the lines `Name: value`."""
        headers = {}
        for line in self.cleaned_data["headers"].splitlines():
            name, colon, value = line.partition(":")
            if not line.strip():
                continue
            if not colon or not value.strip():
                raise forms.ValidationError(_("Write each header as a name, a colon and a value."))
            headers[name.strip()] = value.strip()
        return headers

    def new_values(self) -> NewServer:
        """Return the arguments of `create_mcp_server`."""
        values = self.cleaned_data
        return NewServer(
            name=values["name"],
            url=values["url"],
            auth=values["auth"],
            personal=values["personal"],
            headers=values["headers"],
            token=values["token"],
            client_id=values["client_id"],
            client_secret=values["client_secret"],
        )

    def changed_values(self) -> ChangedServer:
        """Return the arguments of `update_mcp_server`; None keeps what is stored."""
        values = self.cleaned_data
        forget = values.get("forget", False)
        return ChangedServer(
            name=values["name"],
            url=values["url"],
            auth=values["auth"],
            personal=values["personal"],
            enabled=values["enabled"],
            headers=values["headers"] or ({} if forget else None),
            token=values["token"] or ("" if forget else None),
            client_id=values["client_id"] or None,
            client_secret=values["client_secret"],
        )


def _initial(server: McpServer | None) -> dict[str, Any]:
    if server is None:
        return {}
    entered = server.oauth.get("client_id", "") if server.oauth.get("entered") else ""
    return {
        "name": server.name,
        "url": server.url,
        "auth": server.auth,
        "personal": server.personal,
        "enabled": server.enabled,
        "client_id": entered,
    }
