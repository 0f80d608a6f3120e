"""Registers the app with Django, and with the apps below it whose changes rooms must follow."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RoomsConfig(AppConfig):
    name = "rooms"
    verbose_name = _("Rooms")

    def ready(self) -> None:
        from accounts.hooks import follow
        from accounts.revocation import when_access_ends
        from agents.hooks import (
            when_key_is_taken,
            when_persona_changes,
            when_persona_leaves,
            when_persona_rights_are_taken,
        )
        from rooms.services import hooks

        follow(hooks)
        when_access_ends(hooks.access_ended)
        when_persona_changes(hooks.persona_changed)
        when_persona_leaves(hooks.persona_leaves)
        when_persona_rights_are_taken(hooks.persona_rights_taken)
        when_key_is_taken(hooks.key_taken)
