"""What admins do with the connections and personas of their team."""

from agents.services.connections import (
    check_connection,
    check_new_connection,
    create_connection,
    delete_connection,
    look_up,
    rotate_keys,
    unreadable_keys,
    update_connection,
)
from agents.services.grants import Grant, grants_of, put_grants
from agents.services.personas import (
    PersonaFields,
    create_demo_persona,
    create_persona,
    delete_persona,
    restore_persona,
    set_persona_enabled,
    spec_for,
    update_persona,
)

__all__ = [
    "Grant",
    "PersonaFields",
    "check_connection",
    "check_new_connection",
    "create_connection",
    "create_demo_persona",
    "create_persona",
    "delete_connection",
    "delete_persona",
    "grants_of",
    "look_up",
    "put_grants",
    "restore_persona",
    "rotate_keys",
    "set_persona_enabled",
    "spec_for",
    "unreadable_keys",
    "update_connection",
    "update_persona",
]
