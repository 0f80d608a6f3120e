"""allauth's forms for two-step sign-in, with the labels and help texts of Maru."""

from typing import ClassVar

from allauth.mfa.base import forms as base
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from django.utils.translation import gettext_lazy as _

from accounts.login.forms import AllauthForm, Texts

_CODE: Texts = {"code": _("Code")}


class ActivateForm(AllauthForm, totp.ActivateTOTPForm):  # type: ignore[misc]  # allauth has no types
    """The first code of an authenticator app, which proves that the app has the secret."""

    labels: ClassVar[Texts] = _CODE
    help_texts: ClassVar[Texts] = {"code": _("The six digits that your app shows now.")}

    def clean_code(self) -> str:
        """Mark the code as used, so that it cannot sign in within the same 30 seconds."""
        code = str(super().clean_code())
        # allauth marks the code as used in every other form that accepts a code.
        Authenticator(user=self.user, type=Authenticator.Type.TOTP).wrap()._mark_code_used(code)  # noqa: SLF001  # no public method
        return code


class DeactivateForm(AllauthForm, totp.DeactivateTOTPForm):  # type: ignore[misc]  # no types
    """Removal of the authenticator app; it has no fields."""


class CodeForm(AllauthForm, base.AuthenticateForm):  # type: ignore[misc]  # no types
    """The second step of signing in."""

    labels: ClassVar[Texts] = _CODE
    help_texts: ClassVar[Texts] = {
        "code": _("The code from your app, or one of your recovery codes.")
    }


class ReauthenticateCodeForm(AllauthForm, base.ReauthenticateForm):  # type: ignore[misc]  # no types
    """Reauthentication by a code."""

    labels: ClassVar[Texts] = _CODE
    help_texts: ClassVar[Texts] = CodeForm.help_texts


class PasskeyForm(AllauthForm, webauthn.AddWebAuthnForm):  # type: ignore[misc]  # no types
    """A new passkey with its name."""

    labels: ClassVar[Texts] = {"name": _("Name")}
    help_texts: ClassVar[Texts] = {
        "name": _("A name to tell your passkeys apart, for example the device.")
    }
    removed_fields = ("passwordless",)


class PasskeyNameForm(AllauthForm, webauthn.EditWebAuthnForm):  # type: ignore[misc]  # no types
    """A new name for a passkey."""

    labels: ClassVar[Texts] = {"name": _("Name")}
