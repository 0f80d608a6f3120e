"""Registers the app with Django, and the hooks of rooms with `accounts` and `agents`."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RoomsConfig(AppConfig):
    name = "rooms"
    verbose_name = _("Rooms")

    def ready(self) -> None:
        from accounts.hooks import account_hooks
        from agents.hooks import agent_hooks
        from rooms.services.hooks import RoomAccountHooks, RoomAgentHooks

        account_hooks.register(RoomAccountHooks())
        agent_hooks.register(RoomAgentHooks())
