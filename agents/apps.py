"""The Django app `agents`, which registers its hooks with `accounts`."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = _("Agents")

    def ready(self) -> None:
        from accounts.hooks import account_hooks
        from agents.services.grants import GrantHooks

        account_hooks.register(GrantHooks())
