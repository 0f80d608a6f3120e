"""Registers the app with Django, and with the app below it whose changes personas follow."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = _("Agents")

    def ready(self) -> None:
        from accounts.revocation import when_access_ends
        from agents.services import grants

        when_access_ends(grants.access_ended)
