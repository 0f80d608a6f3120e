"""The forms of accounts and teams: allauth's in our own words, and our own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from allauth.account import forms as allauth
from allauth.core import context
from django import forms
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.errors import MaruError
from accounts.login import pending_invitation
from accounts.models import Team, TeamRole, User, Wood
from accounts.names import MAX_NAME_LENGTH, clean_name
from accounts.scopes import ADMIN, READ, WRITE
from accounts.services.invitations import MAX_USES
from accounts.services.teams import TEAM_NAME_LENGTH
from accounts.services.tokens import NAME_LENGTH as TOKEN_NAME_LENGTH

Words = dict[str, str | Promise]

NEW_PASSWORD_HELP: Final = _("At least 10 characters, and not a common password.")


class AllauthForm:
    """A form of allauth with our labels and helps, and without its placeholders."""

    labels: ClassVar[Words] = {}
    helps: ClassVar[Words] = {}
    left_out: ClassVar[tuple[str, ...]] = ()

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.left_out:
            self.fields.pop(name, None)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.help_text = str(self.helps.get(name, ""))
            field.label = str(self.labels.get(name, field.label))


class LoginForm(AllauthForm, allauth.LoginForm):  # type: ignore[misc]  # allauth has no types
    """Signing in."""

    labels: ClassVar[Words] = {"login": _("Email"), "password": _("Password")}

    def clean(self) -> dict[str, Any]:
        """Show a refusal at the password, which is what people type again."""
        try:
            super().clean()
        except ValidationError as error:
            self.add_error("password", error)
        return dict(self.cleaned_data)


class SignupForm(AllauthForm, allauth.SignupForm):  # type: ignore[misc]  # allauth has no types
    """Making an account."""

    name = forms.CharField(
        max_length=MAX_NAME_LENGTH, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    field_order = ("name", "email", "password1")
    labels: ClassVar[Words] = {"name": _("Name"), "email": _("Email"), "password1": _("Password")}
    helps: ClassVar[Words] = {
        "name": _("As others in your teams see you."),
        "password1": NEW_PASSWORD_HELP,
    }

    def clean_name(self) -> str:
        """Refuse a name that nobody would see."""
        name = clean_name(self.cleaned_data["name"])
        if not name:
            raise ValidationError(_("Write a name that can be seen."))
        return name

    def clean_email(self) -> str:
        """Refuse an address that the invitation is not for."""
        email: str = super().clean_email()
        try:
            pending_invitation.check_address(context.request, email)
        except MaruError as error:
            raise ValidationError(str(error.detail)) from None
        return email

    def try_save(self, request: HttpRequest) -> Any:
        """Take as long for an address that has an account as for one that has none."""
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])
        return super().try_save(request)


class ResetPasswordForm(AllauthForm, allauth.ResetPasswordForm):  # type: ignore[misc]  # no types
    """Asking for a link to a new password."""

    labels: ClassVar[Words] = {"email": _("Email")}


class ResetPasswordKeyForm(AllauthForm, allauth.ResetPasswordKeyForm):  # type: ignore[misc]  # ditto
    """Choosing a new password by the link."""

    labels: ClassVar[Words] = {"password1": _("New password")}
    helps: ClassVar[Words] = {"password1": NEW_PASSWORD_HELP}
    left_out = ("password2",)


class ChangePasswordForm(AllauthForm, allauth.ChangePasswordForm):  # type: ignore[misc]  # no types
    """Choosing a new password by the old one."""

    labels: ClassVar[Words] = {"oldpassword": _("Current password"), "password1": _("New password")}
    helps: ClassVar[Words] = {"password1": NEW_PASSWORD_HELP}
    left_out = ("password2",)


class SetPasswordForm(AllauthForm, allauth.SetPasswordForm):  # type: ignore[misc]  # no types
    """Choosing a first password, for accounts that were made without one."""

    labels: ClassVar[Words] = {"password1": _("New password")}
    helps: ClassVar[Words] = {"password1": NEW_PASSWORD_HELP}
    left_out = ("password2",)


class ChangeEmailForm(AllauthForm, allauth.AddEmailForm):  # type: ignore[misc]  # no types
    """Moving to another address."""

    labels: ClassVar[Words] = {"email": _("New address")}


class ReauthenticateForm(AllauthForm, allauth.ReauthenticateForm):  # type: ignore[misc]  # no types
    """Showing once more that it is you."""

    labels: ClassVar[Words] = {"password": _("Password")}


class SetupForm(forms.Form):
    """The first account and the first team."""

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
        """Hold the password against the same rules as everywhere."""
        password: str = self.cleaned_data["password"]
        person = User(
            name=self.cleaned_data.get("name", ""), email=self.cleaned_data.get("email", "")
        )
        validate_password(password, person)
        return password


class TeamForm(forms.Form):
    """The name of a team."""

    name = forms.CharField(label=_("Team name"), max_length=TEAM_NAME_LENGTH)


class MomentField(forms.DateTimeField):
    """A time that every database can compare with."""

    def clean(self, value: Any) -> datetime | None:
        moment: datetime | None = super().clean(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class AuditForm(forms.Form):
    """What to show of the audit; whatever does not fit is left unasked."""

    KINDS: Final = (
        ("", pgettext_lazy("kinds of entries", "Everything")),
        ("team.", _("Team and its people")),
        ("invitation.", _("Invitations")),
        ("room.", _("Rooms")),
        ("persona.", _("Personas")),
        ("connection.", _("Connections")),
        ("token.", _("API tokens")),
        ("audit.", _("Exports of this log")),
    )

    actor = forms.ModelChoiceField(
        label=_("Who"), queryset=User.objects.none(), required=False, empty_label=_("Everybody")
    )
    action = forms.ChoiceField(label=_("What"), choices=KINDS, required=False)
    since = MomentField(
        label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    until = MomentField(
        label=_("Before"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    before = forms.IntegerField(min_value=1, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = User.objects.filter(memberships__team=team).order_by("name", "pk")
        self.fields["actor"].queryset = people  # type: ignore[attr-defined]  # a ModelChoiceField
        self.full_clean()

    def asked(self) -> dict[str, Any]:
        """Return the filters of `AuditQuerySet.matching`."""
        data = self.cleaned_data
        actor = data.get("actor")
        return {
            "actor": actor.pk if actor else None,
            "action": data.get("action", ""),
            "since": data.get("since"),
            "until": data.get("until"),
        }


class RoleForm(forms.Form):
    """A role, of those that somebody may give."""

    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, *args: Any, roles: list[TeamRole], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]  # a ChoiceField


class InvitationForm(RoleForm):
    """An invitation: as what, for whom, how often and how long."""

    LIFETIMES: Final = (("1", _("One day")), ("7", _("7 days")), ("30", _("30 days")))

    email = forms.EmailField(
        label=_("Email"),
        required=False,
        help_text=_("The link goes there and is for that person. Leave it empty for a link only."),
    )
    days = forms.ChoiceField(label=_("Ends after"), choices=LIFETIMES, initial="7", required=False)
    max_uses = forms.IntegerField(
        label=_("How many people"), min_value=1, max_value=MAX_USES, initial=1, required=False
    )

    def clean_days(self) -> int:
        """Return 7 where nothing was chosen."""
        return int(self.cleaned_data["days"] or 7)

    def clean_max_uses(self) -> int:
        """Return 1 where nothing was written."""
        return self.cleaned_data["max_uses"] or 1


class DeleteTeamForm(forms.Form):
    """The name of the team, typed to show that its deletion is meant."""

    name = forms.CharField(
        label=_("Name of the team"),
        max_length=TEAM_NAME_LENGTH,
        help_text=_("Type it to show that you mean it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        # It stands on one page with the form that renames the team, whose field is a name, too.
        super().__init__(data, auto_id="deletion_%s")


class ProfileForm(forms.Form):
    """How others see you, and the language that you see."""

    name = forms.CharField(
        label=_("Name"),
        max_length=MAX_NAME_LENGTH,
        help_text=_("As others in your teams see you."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    wood = forms.ChoiceField(
        label=_("Colour of your circle"), choices=Wood.choices, widget=forms.RadioSelect
    )
    language = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)


class TokenForm(forms.Form):
    """A bearer token, for a program."""

    SCOPES: Final = (
        (READ, _("Read: see what you see")),
        (WRITE, _("Write: also write messages and make rooms")),
        (ADMIN, _("Everything that you may do")),
    )
    LIFETIMES: Final = (
        ("30", _("30 days")),
        ("90", _("90 days")),
        ("365", _("One year")),
        ("never", _("It does not end")),
    )

    name = forms.CharField(
        label=_("Name"), max_length=TOKEN_NAME_LENGTH, help_text=_("What will use it?")
    )
    scope = forms.ChoiceField(
        label=_("What it may do"), choices=SCOPES, initial=WRITE, widget=forms.RadioSelect
    )
    team = forms.ModelChoiceField(
        label=_("Team"), queryset=Team.objects.none(), required=False, empty_label=_("All teams")
    )
    days = forms.ChoiceField(label=_("Ends after"), choices=LIFETIMES, initial="90")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = Team.objects.visible_to(user)  # type: ignore[attr-defined]  # a ModelChoiceField
