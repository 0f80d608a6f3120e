"""Registers the app with Django, and for what allauth tells of second factors."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        # allauth tells of changes to second factors by signals only.
        from allauth.mfa import signals

        from accounts import mfa

        signals.authenticator_added.connect(mfa.factor_added)
        signals.authenticator_removed.connect(mfa.factor_removed)
        signals.authenticator_reset.connect(mfa.factor_reset)
