"""Services for the connections and personas of a team."""

from agents.services.connections import (
    check_base_url,
    check_connection,
    check_new_connection,
    create_connection,
    delete_connection,
    update_connection,
)
from agents.services.grants import Grant, list_grants, put_grants
from agents.services.mcp_servers import (
    check_mcp_server,
    check_new_mcp_server,
    create_mcp_server,
    delete_mcp_server,
    inspect_new_server,
    refresh_mcp_server,
    update_mcp_server,
)
from agents.services.mcp_sign_in import finish_sign_in, sign_out, start_sign_in
from agents.services.mcp_tools import approve_tool, update_tool
from agents.services.persona_import import Imported, import_personas
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
from agents.services.rotation import find_unreadable_keys, rotate_keys

__all__ = [
    "Grant",
    "Imported",
    "PersonaFields",
    "ToolChoice",
    "approve_tool",
    "build_spec",
    "check_base_url",
    "check_connection",
    "check_mcp_server",
    "check_new_connection",
    "check_new_mcp_server",
    "create_connection",
    "create_demo_persona",
    "create_mcp_server",
    "create_persona",
    "delete_connection",
    "delete_mcp_server",
    "delete_persona",
    "find_unreadable_keys",
    "finish_sign_in",
    "import_personas",
    "inspect_new_server",
    "list_grants",
    "list_tools",
    "put_grants",
    "refresh_mcp_server",
    "restore_persona",
    "rotate_keys",
    "set_persona_enabled",
    "sign_out",
    "start_sign_in",
    "update_connection",
    "update_mcp_server",
    "update_persona",
    "update_tool",
]
