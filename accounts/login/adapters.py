"""Maru's rules for allauth: sign-up, sign-in, mail, second factors and sessions."""

from smtplib import SMTPException
from typing import Any, ClassVar, Final, cast
from urllib.parse import urlsplit

import qrcode
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import SignupForm
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from qrcode.image.svg import SvgPathImage

from accounts.audit.log import audit, audit_refusal
from accounts.errors import Forbidden, Unavailable
from accounts.hooks import AccessRevoked, access_revoked
from accounts.login import mfa_secrets, pending_invitation
from accounts.models import User
from accounts.services import change_password, create_user, finish_email_change


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Accounts: sign-up, sign-in, passwords, emails and the mail about them."""

    error_messages: ClassVar[dict[str, Any]] = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("The email or the password is wrong. Try again."),
        "email_taken": _("This email already has an account. Sign in instead."),
        "duplicate_email": _("This is already your email."),
        "enter_current_password": _("The current password is wrong. Try again."),
        "incorrect_password": _("The password is wrong. Try again."),
        "too_many_login_attempts": _("Too many attempts. Wait five minutes and try again."),
        "rate_limited": _("Too many requests. Wait a moment and try again."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return True if sign-up is open to everyone or the session holds a valid invitation."""
        return settings.SIGNUP == "open" or pending_invitation.load(request) is not None

    @transaction.atomic
    def save_user(
        self, request: HttpRequest, user: AbstractBaseUser, form: SignupForm, **kwargs: Any
    ) -> User:
        """Create the account of a valid sign-up form, without permissions."""
        data = form.cleaned_data
        pending_invitation.consume_signup(request, data["email"])
        return create_user(name=data["name"], email=data["email"], password=data["password1"])

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """Change the password; every page that sets a password calls this."""
        change_password(user=cast("User", user), password=password)

    def login(self, request: HttpRequest, user: AbstractBaseUser) -> None:
        """Start a session, and list it among the sessions that the user can end."""
        super().login(request, user)
        UserSession.objects.create_from_request(request)
        audit(cast("User", user), "user.signed_in", user.pk)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Audit a failed sign-in without the email: some users type a password into that field."""
        audit_refusal(None, "user.signed_in", Forbidden(), target_kind="user")

    @transaction.atomic
    def logout(self, request: HttpRequest) -> None:
        """End the session and close its connections."""
        user, session_key = request.user, request.session.session_key
        super().logout(request)
        if isinstance(user, User) and session_key:
            access_revoked(AccessRevoked(user_id=user.pk, session_key=session_key))
            audit(user, "user.signed_out", user.pk)

    @transaction.atomic
    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Mark an email as verified; if the user had another email before, finish the change."""
        user = email_address.user
        old_email = user.email
        confirmed = bool(super().confirm_email(request, email_address))
        if confirmed and user.email != old_email:
            session_key = request.session.session_key if request.user == user else None
            finish_email_change(user=user, old_email=old_email, session_key=session_key)
        elif confirmed:
            audit(user, "user.address_proven", user.pk)
        return confirmed

    def is_safe_url(self, url: str) -> bool:
        """Return True for a path of this site; a URL with a host is never safe."""
        return url.startswith("/") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Return the URL of the pending invitation, if the session holds one."""
        if pending_invitation.load(request) is not None:
            return reverse("accounts:invitation")
        return cast("str", super().get_login_redirect_url(request))

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return self.get_login_redirect_url(request)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("accounts:profile")

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send one mail. Raises Unavailable if the mail server does not accept it."""
        try:
            super().send_mail(template_prefix, email, {**context, "home": settings.PUBLIC_URL})
        except (OSError, SMTPException) as error:
            raise Unavailable(
                _("The email could not be sent. Try again in a few minutes.")
            ) from error

    def format_email_subject(self, subject: str) -> str:
        """Return the subject unchanged: allauth would add a prefix."""
        return subject

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link of a password reset mail."""
        return _public_url(super().get_reset_password_from_key_url(key))

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """Return the link of an email verification mail."""
        return _public_url(super().get_email_confirmation_url(request, emailconfirmation))

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's IP; without an IP (Unix socket), all clients share one rate limit."""
        return str(request.META.get("REMOTE_ADDR") or "::")

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count sign-in attempts by email only.

        allauth adds the Host header to the key. Django accepts any port in this header, so each
        port would give an attacker a new count of attempts.
        """
        return str(credentials.get("email", "")).lower()


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """Second factors: their encryption, their names and the identity shown to passkeys."""

    error_messages: Final[dict[str, str | Promise]] = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": _("This code is wrong or was already used. Enter a new code."),
    }

    def encrypt(self, text: str) -> str:
        """Return an encrypted TOTP secret or seed of recovery codes."""
        return mfa_secrets.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return the plain text. Raises Unavailable if its secret key is no longer configured."""
        try:
            return mfa_secrets.decrypt(encrypted_text)
        except mfa_secrets.SecretUnreadable:
            raise Unavailable(
                _("Your two-step sign-in cannot be checked. Ask the operator of this server.")
            ) from None

    def build_totp_svg(self, url: str) -> SafeString:
        """Return the QR code as inline SVG: the Content Security Policy blocks `data:` images."""
        svg = qrcode.make(url, image_factory=SvgPathImage).to_string(encoding="unicode")
        return mark_safe(str(svg))  # noqa: S308  # generated here, without user input

    def generate_authenticator_name(self, user: User, type: str) -> str:  # noqa: A002  # allauth's
        """Return a default name; allauth's own name for the first passkey is "Master key"."""
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return gettext("Passkey %(number)s") % {"number": number}

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return the WebAuthn relying party: the public host, not the host in the header."""
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        if settings.HTTPS:
            entity["id"] = urlsplit(settings.PUBLIC_URL).hostname or ""
        return {**entity, "name": "Maru"}


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # allauth has no types
    """Sessions that the user ends on the page of sessions."""

    @transaction.atomic
    def end_sessions(self, sessions: list[UserSession]) -> None:
        """End the sessions and close their connections."""
        super().end_sessions(sessions)
        for session in sessions:
            access_revoked(AccessRevoked(user_id=session.user_id, session_key=session.session_key))
        if sessions:
            user = sessions[0].user
            audit(user, "user.sessions_ended", user.pk, after={"sessions": len(sessions)})


def _public_url(url: str) -> str:
    """Return the path of `url` on the public host: the Host header may be forged."""
    return settings.PUBLIC_URL.rstrip("/") + urlsplit(url).path
