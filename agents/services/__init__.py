"""Services for the connections and personas of a team."""

from agents.services.connections import (
    check_base_url,
    check_connection,
    check_new_connection,
    create_connection,
    delete_connection,
    find_unreadable_keys,
    rotate_keys,
    update_connection,
)
from agents.services.grants import Grant, list_grants, put_grants
from agents.services.persona_tools import ToolChoice, list_tools
from agents.services.personas import (
    PersonaFields,
    build_spec,
    create_demo_persona,
    create_persona,
    delete_persona,
    restore_persona,
    set_persona_enabled,
    update_persona,
)

__all__ = [
    "Grant",
    "PersonaFields",
    "ToolChoice",
    "build_spec",
    "check_base_url",
    "check_connection",
    "check_new_connection",
    "create_connection",
    "create_demo_persona",
    "create_persona",
    "delete_connection",
    "delete_persona",
    "find_unreadable_keys",
    "list_grants",
    "list_tools",
    "put_grants",
    "restore_persona",
    "rotate_keys",
    "set_persona_enabled",
    "update_connection",
    "update_persona",
]
