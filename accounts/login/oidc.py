"""Sign-in through the OpenID Connect provider of the operator.

An email is trusted only if the provider reports it as verified (`email_verified`). A user with a
trusted email is signed in to the account that has this email. If there is none, an account is
created, provided that sign-up is open to this user.
"""

from typing import Any, cast

from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.db import transaction
from django.http import HttpRequest

from accounts.login import pending_invitation
from accounts.models import User
from accounts.services import create_user


class OidcAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Maru's rules for allauth's social accounts."""

    def populate_user(
        self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]
    ) -> User:
        """Copy the name and the verified email; allauth then looks up the account by them.

        Raises OAuth2Error if the ID token and the userinfo response have different subjects
        (OpenID Connect Core 1.0, section 5.3.2).
        """
        extra_data = sociallogin.account.extra_data
        claims, userinfo = extra_data.get("id_token"), extra_data.get("userinfo")
        if claims and userinfo and claims["sub"] != userinfo.get("sub"):
            raise OAuth2Error("ID token and userinfo have different subjects")
        for address in sociallogin.email_addresses:
            # Some providers send the string "false".
            address.verified = (userinfo or claims or {}).get("email_verified") is True
        user = cast("User", sociallogin.user)
        user.name = str(data.get("name") or data.get("username") or "")
        user.email = _verified_email(sociallogin) or ""
        return user

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Return True if sign-up is open and the provider has verified the email."""
        is_open = super().is_open_for_signup(request, sociallogin)
        return bool(is_open and _verified_email(sociallogin))

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Create the account, without a password and without permissions."""
        populated = cast("User", sociallogin.user)
        pending_invitation.consume_signup(request, populated.email)
        name = populated.name or populated.email.partition("@")[0]
        user = sociallogin.user = create_user(name=name, email=populated.email)
        sociallogin.save(request)
        return user


def _verified_email(sociallogin: SocialLogin) -> str | None:
    addresses: list[EmailAddress] = sociallogin.email_addresses
    return next((str(address.email) for address in addresses if address.verified), None)
