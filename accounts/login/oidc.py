"""Signing in through the operator's OpenID Connect provider: whom we take its word for.

Its word on an address counts where it says that it has confirmed it, and nowhere else: then it
leads to the account with that address, or to a new one where the invitation allows one.
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
    """Maru's answers to allauth's sign-in by others."""

    def populate_user(
        self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]
    ) -> User:
        """Take over name and address, before anybody is looked for by them.

        Raises OAuth2Error where two answers of the provider are not about the same person.
        """
        told = sociallogin.account.extra_data
        claims, info = told.get("id_token"), told.get("userinfo")
        if claims and info and claims["sub"] != info.get("sub"):
            raise OAuth2Error("the subject of userinfo is another one")
        for address in sociallogin.email_addresses:
            # Some say "false", in words.
            address.verified = (info or claims or {}).get("email_verified") is True
        user = cast("User", sociallogin.user)
        user.name = str(data.get("name") or data.get("username") or "")
        user.email = _confirmed(sociallogin) or ""
        return user

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """As everywhere, and only with an address that the provider has confirmed."""
        is_open = super().is_open_for_signup(request, sociallogin)
        return bool(is_open and _confirmed(sociallogin))

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the account; without a password, and without any rights."""
        told = cast("User", sociallogin.user)
        pending_invitation.count_account(request, told.email)
        name = told.name or told.email.partition("@")[0]
        user = sociallogin.user = create_user(name=name, email=told.email)
        sociallogin.save(request)
        return user


def _confirmed(sociallogin: SocialLogin) -> str | None:
    addresses: list[EmailAddress] = sociallogin.email_addresses
    return next((str(each.email) for each in addresses if each.verified), None)
