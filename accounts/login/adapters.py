"""Where allauth asks us: who may sign up, where to go next, what mail says and how it is sent."""

from smtplib import SMTPException
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import SignupForm
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from accounts.audit.log import audit, audit_refusal
from accounts.errors import Forbidden, Unavailable
from accounts.login import pending_invitation
from accounts.models import User
from accounts.revocation import Ending, access_ended
from accounts.services import change_password, create_user, finish_email_change


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Maru's answers to allauth."""

    error_messages: ClassVar[dict[str, Any]] = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("The email or the password is not right."),
        "email_taken": _("This address has an account. Sign in instead."),
        "duplicate_email": _("This is your address already."),
        "enter_current_password": _("This is not your current password."),
        "incorrect_password": _("This is not your password."),
        "too_many_login_attempts": _("Too many attempts. Wait five minutes and try again."),
        "rate_limited": _("Too much at once. Wait a little and try again."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Open to the invited, and to everybody where the installation says so."""
        return settings.SIGNUP == "open" or pending_invitation.invitation(request) is not None

    @transaction.atomic
    def save_user(
        self, request: HttpRequest, user: AbstractBaseUser, form: SignupForm, **kwargs: Any
    ) -> User:
        """Make the account that a sign-up form asks for. It has no rights at all."""
        data = form.cleaned_data
        pending_invitation.count_account(request, data["email"])
        return create_user(name=data["name"], email=data["email"], password=data["password1"])

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """Change the password, whichever page asks for it."""
        change_password(user=cast("User", user), password=password)

    def login(self, request: HttpRequest, user: AbstractBaseUser) -> None:
        """Begin a session, and list it with those that one can end."""
        super().login(request, user)
        UserSession.objects.create_from_request(request)
        audit(cast("User", user), "user.signed_in", user.pk)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Write down that somebody guessed; not at what, for people type passwords anywhere."""
        audit_refusal(None, "user.signed_in", Forbidden(), target_kind="user")

    @transaction.atomic
    def logout(self, request: HttpRequest) -> None:
        """End the session, and what is open under it."""
        user, session_key = request.user, request.session.session_key
        super().logout(request)
        if isinstance(user, User) and session_key:
            access_ended(Ending(user_id=user.pk, session_key=session_key))
            audit(user, "user.signed_out", user.pk)

    @transaction.atomic
    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Take an address as proven; by it, somebody may have moved to another one."""
        user = email_address.user
        before = user.email
        confirmed = bool(super().confirm_email(request, email_address))
        if confirmed and user.email != before:
            own = request.session.session_key if request.user == user else None
            finish_email_change(user=user, before=before, session_key=own)
        elif confirmed:
            audit(user, "user.address_proven", user.pk)
        return confirmed

    def is_safe_url(self, url: str) -> bool:
        """Lead on to our own paths only: an address with a host is never one of them."""
        return url.startswith("/") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Bring the invited back to their invitation."""
        if pending_invitation.invitation(request) is not None:
            return reverse("accounts:invitation")
        return cast("str", super().get_login_redirect_url(request))

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        """As after signing in."""
        return self.get_login_redirect_url(request)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Back to one's own settings."""
        return reverse("accounts:profile")

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send one mail. Raises Unavailable if the mail server does not take it."""
        try:
            super().send_mail(template_prefix, email, {**context, "home": settings.PUBLIC_URL})
        except (OSError, SMTPException) as error:
            raise Unavailable(
                _("The mail could not be sent. Try again in a few minutes.")
            ) from error

    def format_email_subject(self, subject: str) -> str:
        """The subjects of our templates are whole as they are."""
        return subject

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link in the mail for a forgotten password."""
        return _at_home(super().get_reset_password_from_key_url(key))

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """The link in the mail that proves an address."""
        return _at_home(super().get_email_confirmation_url(request, emailconfirmation))

    def get_client_ip(self, request: HttpRequest) -> str:
        """Whoever comes without an address, by a socket of this machine, counts as one client."""
        return str(request.META.get("REMOTE_ADDR") or "::")

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count attempts by the account alone.

        allauth counts by the Host header as well, and any port in it is accepted: each one would
        be a fresh set of attempts at the same password.
        """
        return str(credentials.get("email", "")).lower()


def _at_home(url: str) -> str:
    """Put our own address in front of the path: what the Host header says may be a lie."""
    return settings.PUBLIC_URL.rstrip("/") + urlsplit(url).path
