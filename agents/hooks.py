"""The hooks of this app: functions of the apps above, called when personas or connections change.

See `accounts.hooks` for when hooks run and in which order.
"""

from typing import Final

from accounts.hooks import HookRegistry
from agents.models import Connection, Persona


class AgentHooks:
    """Hooks that do nothing. An implementation overrides the hooks that it needs."""

    def persona_changed(self, persona: Persona) -> None:
        """A change of a persona has been saved."""

    def persona_deleted(self, persona: Persona) -> None:
        """A persona is being deleted. Called before its rows are deleted."""

    def persona_rights_revoked(self, persona: Persona) -> None:
        """A user or a role has lost rights to a persona."""

    def connection_key_removed(self, connection: Connection) -> None:
        """The key of a connection has been removed: no request can use the connection."""


agent_hooks: Final[HookRegistry[AgentHooks]] = HookRegistry()
