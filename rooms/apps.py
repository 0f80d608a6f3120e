"""Registers the app with Django, and the hooks of rooms with `accounts` and `agents`."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_migrate
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
        post_migrate.connect(_repair_owners, sender=self)


def _repair_owners(plan: Sequence[object] = (), **_kwargs: object) -> None:
    """Repair the data of earlier versions after `migrate`, with the services of this version.

    Not a migration: a migration must not import code that expects the newest schema. Nothing is
    done after `flush`, which has no plan, or while migrations are missing.
    """
    from rooms.services import repair_owners

    executor = MigrationExecutor(connection)
    if plan and not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        repair_owners()
