"""The forms of two-step sign-in: allauth's in our own words."""

from typing import ClassVar

from allauth.mfa.base import forms as base
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from django.utils.translation import gettext_lazy as _

from accounts.views.forms import AllauthForm, Words

_CODE: Words = {"code": _("Code")}


class ActivateForm(AllauthForm, totp.ActivateTOTPForm):  # type: ignore[misc]  # allauth has no types
    """The first code of an app, which shows that it has the secret."""

    labels: ClassVar[Words] = _CODE
    helps: ClassVar[Words] = {"code": _("The six digits that the app shows now.")}

    def clean_code(self) -> str:
        """Use the code up: whoever saw it must not sign in with it within the same half minute."""
        code = str(super().clean_code())
        Authenticator(user=self.user, type=Authenticator.Type.TOTP).wrap()._mark_code_used(code)  # noqa: SLF001  # what allauth does itself wherever else it takes a code
        return code


class DeactivateForm(AllauthForm, totp.DeactivateTOTPForm):  # type: ignore[misc]  # no types
    """Doing without the app; nothing to fill in."""


class CodeForm(AllauthForm, base.AuthenticateForm):  # type: ignore[misc]  # no types
    """The second step of signing in."""

    labels: ClassVar[Words] = _CODE
    helps: ClassVar[Words] = {"code": _("Of your app, or one of your recovery codes.")}


class CodeAgainForm(AllauthForm, base.ReauthenticateForm):  # type: ignore[misc]  # no types
    """Showing once more that it is you, by a code."""

    labels: ClassVar[Words] = _CODE
    helps: ClassVar[Words] = CodeForm.helps


class PasskeyForm(AllauthForm, webauthn.AddWebAuthnForm):  # type: ignore[misc]  # no types
    """A passkey, and a name to tell it from others."""

    labels: ClassVar[Words] = {"name": _("Name")}
    helps: ClassVar[Words] = {"name": _("To tell it from your others, like the device it is on.")}
    left_out = ("passwordless",)


class PasskeyNameForm(AllauthForm, webauthn.EditWebAuthnForm):  # type: ignore[misc]  # no types
    """Another name for a passkey."""

    labels: ClassVar[Words] = {"name": _("Name")}
