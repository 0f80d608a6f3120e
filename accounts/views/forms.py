"""The forms of the setup page, of teams, of profiles and of tokens."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.login.forms import NEW_PASSWORD_HELP
from accounts.models import Team, TeamRole, User, Wood
from accounts.names import MAX_NAME_LENGTH
from accounts.scopes import ADMIN, READ, WRITE
from accounts.services.teams import TEAM_NAME_LENGTH
from accounts.services.tokens import NAME_LENGTH as TOKEN_NAME_LENGTH


class SetupForm(forms.Form):
    """The first account and the first team of an installation."""

    name = forms.CharField(
        label=_("Name"),
        max_length=MAX_NAME_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "name", "autofocus": True}),
    )
    email = forms.EmailField(
        label=_("Email"), widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )
    password = forms.CharField(
        label=_("Password"),
        help_text=NEW_PASSWORD_HELP,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    team_name = forms.CharField(
        label=_("Team name"),
        max_length=TEAM_NAME_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    model = forms.ChoiceField(
        choices=(("demo", _("Start with the demo")), ("provider", _("Connect a provider"))),
        required=False,
    )

    def clean_password(self) -> str:
        """Validate the password against the name and email of this form."""
        password: str = self.cleaned_data["password"]
        person = User(
            name=self.cleaned_data.get("name", ""), email=self.cleaned_data.get("email", "")
        )
        validate_password(password, person)
        return password


class TeamForm(forms.Form):
    """A new name for a team."""

    name = forms.CharField(label=_("Team name"), max_length=TEAM_NAME_LENGTH)


class UtcDateTimeField(forms.DateTimeField):
    """A datetime in UTC. Rejects values that overflow in UTC, which databases cannot compare."""

    def clean(self, value: Any) -> datetime | None:
        moment: datetime | None = super().clean(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class AuditForm(forms.Form):
    """The filters of the audit page; an invalid filter is ignored."""

    KINDS: Final = (
        ("", pgettext_lazy("kinds of entries", "Everything")),
        ("team.", _("Team and members")),
        ("invitation.", _("Invitations")),
        ("room.", _("Rooms")),
        ("persona.", _("Personas")),
        ("connection.", _("Connections")),
        ("token.", _("API tokens")),
        ("audit.", _("Exports of the audit log")),
    )

    actor = forms.ModelChoiceField(label=_("Who"), queryset=User.objects.none(), required=False)
    action = forms.ChoiceField(label=_("What"), choices=KINDS, required=False)
    since = UtcDateTimeField(
        label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    until = UtcDateTimeField(
        label=_("Before"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    before = forms.IntegerField(min_value=1, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = User.objects.filter(memberships__team=team)
        self.fields["actor"].queryset = people  # type: ignore[attr-defined]  # a ModelChoiceField
        self.full_clean()

    def filters(self) -> dict[str, Any]:
        """Return the keyword arguments of `AuditQuerySet.matching`."""
        data = self.cleaned_data
        actor = data.get("actor")
        return {
            "actor": actor.pk if actor else None,
            "action": data.get("action", ""),
            "since": data.get("since"),
            "until": data.get("until"),
        }


class RoleForm(forms.Form):
    """One of the roles that the user may grant."""

    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, *args: Any, roles: list[TeamRole], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]  # a ChoiceField


class DeleteTeamForm(forms.Form):
    """The name of the team, typed to confirm its deletion."""

    name = forms.CharField(
        label=_("Name of the team"),
        max_length=TEAM_NAME_LENGTH,
        help_text=_("Type the name of the team to confirm."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        # The page also has `TeamForm`, whose field has the same name: the ids must differ.
        super().__init__(data, auto_id="deletion_%s")


class ProfileForm(forms.Form):
    """Name and colour of the user, and the language of the pages."""

    name = forms.CharField(
        label=_("Name"),
        max_length=MAX_NAME_LENGTH,
        help_text=_("Other people in your teams see this name."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    wood = forms.ChoiceField(
        label=_("Colour of your avatar"), choices=Wood.choices, widget=forms.RadioSelect
    )
    language = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)


class TokenForm(forms.Form):
    """A new API token."""

    SCOPES: Final = (
        (READ, _("Read: see what you can see")),
        (WRITE, _("Write: also send messages and create rooms")),
        (ADMIN, _("Admin: do everything that you can do")),
    )
    LIFETIMES: Final = (
        ("30", _("30 days")),
        ("90", _("90 days")),
        ("365", _("One year")),
        ("never", _("Never expires")),
    )

    name = forms.CharField(
        label=_("Name"),
        max_length=TOKEN_NAME_LENGTH,
        help_text=_("The program that will use this token."),
    )
    scope = forms.ChoiceField(
        label=_("What the token can do"), choices=SCOPES, initial=WRITE, widget=forms.RadioSelect
    )
    team = forms.ModelChoiceField(
        label=_("Team"), queryset=Team.objects.none(), required=False, empty_label=_("All teams")
    )
    days = forms.ChoiceField(label=_("Expires after"), choices=LIFETIMES, initial="90")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = Team.objects.visible_to(user)  # type: ignore[attr-defined]  # a ModelChoiceField
