"""Registers the app with Django, and its hook with the accounts app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = _("Agents")

    def ready(self) -> None:
        from accounts.revocation import when_access_ends
        from agents.services import grants

        when_access_ends(grants.access_ended)
