"""allauth's forms for accounts, with the labels and help texts of Maru."""

from typing import Any, ClassVar, Final

from allauth.account import forms as allauth
from allauth.core import context
from django import forms
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.errors import MaruError
from accounts.login import pending_invitation
from accounts.names import MAX_NAME_LENGTH, clean_name

Texts = dict[str, str | Promise]

NEW_PASSWORD_HELP: Final = _("At least 10 characters, and not a common password.")


class AllauthForm:
    """Mixin for allauth forms: sets labels and help texts, removes fields and placeholders."""

    labels: ClassVar[Texts] = {}
    help_texts: ClassVar[Texts] = {}
    removed_fields: ClassVar[tuple[str, ...]] = ()

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.removed_fields:
            self.fields.pop(name, None)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.help_text = str(self.help_texts.get(name, ""))
            field.label = str(self.labels.get(name, field.label))


class LoginForm(AllauthForm, allauth.LoginForm):  # type: ignore[misc]  # allauth has no types
    """Sign-in by email and password."""

    labels: ClassVar[Texts] = {"login": _("Email"), "password": _("Password")}

    def clean(self) -> dict[str, Any]:
        """Show every error at the password field, which the user must fill in again."""
        try:
            super().clean()
        except ValidationError as error:
            self.add_error("password", error)
        return dict(self.cleaned_data)


class SignupForm(AllauthForm, allauth.SignupForm):  # type: ignore[misc]  # allauth has no types
    """Creation of an account."""

    name = forms.CharField(
        max_length=MAX_NAME_LENGTH, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    field_order = ("name", "email", "password1")
    labels: ClassVar[Texts] = {"name": _("Name"), "email": _("Email"), "password1": _("Password")}
    help_texts: ClassVar[Texts] = {
        "name": _("Other people in your teams see this name."),
        "password1": NEW_PASSWORD_HELP,
    }

    def clean_name(self) -> str:
        """Raise ValidationError if the name has no visible character."""
        name = clean_name(self.cleaned_data["name"])
        if not name:
            raise ValidationError(_("Enter a name with at least one visible character."))
        return name

    def clean_email(self) -> str:
        """Raise ValidationError if the pending invitation is for another email."""
        email: str = super().clean_email()
        try:
            pending_invitation.check_email(context.request, email)
        except MaruError as error:
            raise ValidationError(str(error.detail)) from None
        return email

    def try_save(self, request: HttpRequest) -> Any:
        """Hash the password even if the email has an account.

        The response time must not reveal whether an account exists.
        """
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])
        return super().try_save(request)


class ResetPasswordForm(AllauthForm, allauth.ResetPasswordForm):  # type: ignore[misc]  # no types
    """Request of a link to reset the password."""

    labels: ClassVar[Texts] = {"email": _("Email")}


class ResetPasswordKeyForm(AllauthForm, allauth.ResetPasswordKeyForm):  # type: ignore[misc]  # no types
    """A new password, set by the link of a reset mail."""

    labels: ClassVar[Texts] = {"password1": _("New password")}
    help_texts: ClassVar[Texts] = {"password1": NEW_PASSWORD_HELP}
    removed_fields = ("password2",)


class ChangePasswordForm(AllauthForm, allauth.ChangePasswordForm):  # type: ignore[misc]  # no types
    """A new password, set with the current one."""

    labels: ClassVar[Texts] = {"oldpassword": _("Current password"), "password1": _("New password")}
    help_texts: ClassVar[Texts] = {"password1": NEW_PASSWORD_HELP}
    removed_fields = ("password2",)


class SetPasswordForm(AllauthForm, allauth.SetPasswordForm):  # type: ignore[misc]  # no types
    """The first password of an account that was created without one."""

    labels: ClassVar[Texts] = {"password1": _("New password")}
    help_texts: ClassVar[Texts] = {"password1": NEW_PASSWORD_HELP}
    removed_fields = ("password2",)


class ChangeEmailForm(AllauthForm, allauth.AddEmailForm):  # type: ignore[misc]  # no types
    """A new email for the account."""

    labels: ClassVar[Texts] = {"email": _("New email")}


class ReauthenticateForm(AllauthForm, allauth.ReauthenticateForm):  # type: ignore[misc]  # no types
    """Reauthentication by the password."""

    labels: ClassVar[Texts] = {"password": _("Password")}
