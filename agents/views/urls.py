"""The URLs of the pages of connections and personas."""

from django.urls import path

from agents.views import connecting, connections, importing, mcp, mcp_sign_in, personas

app_name = "agents"

urlpatterns = [
    path("teams/<uuid:team_id>/connections/", connections.index, name="connections"),
    path("teams/<uuid:team_id>/connections/new/", connections.create, name="connection_create"),
    path("teams/<uuid:team_id>/connections/try/", connections.check_new, name="connection_try"),
    path(
        "teams/<uuid:team_id>/connections/<uuid:connection_id>/",
        connections.edit,
        name="connection",
    ),
    path(
        "teams/<uuid:team_id>/connections/<uuid:connection_id>/check/",
        connections.check,
        name="connection_check",
    ),
    path(
        "teams/<uuid:team_id>/connections/<uuid:connection_id>/delete/",
        connections.delete,
        name="connection_delete",
    ),
    path("teams/<uuid:team_id>/mcp/", mcp.index, name="mcp_servers"),
    path("teams/<uuid:team_id>/mcp/new/", mcp.create, name="mcp_create"),
    path("teams/<uuid:team_id>/mcp/try/", mcp.check_new, name="mcp_try"),
    path("teams/<uuid:team_id>/mcp/<uuid:server_id>/", mcp.edit, name="mcp_server"),
    path("teams/<uuid:team_id>/mcp/<uuid:server_id>/check/", mcp.check, name="mcp_check"),
    path("teams/<uuid:team_id>/mcp/<uuid:server_id>/refresh/", mcp.refresh, name="mcp_refresh"),
    path("teams/<uuid:team_id>/mcp/<uuid:server_id>/delete/", mcp.delete, name="mcp_delete"),
    path("teams/<uuid:team_id>/mcp/tools/<uuid:tool_id>/", mcp.tool, name="mcp_tool"),
    path("mcp/", mcp_sign_in.own, name="mcp_sign_ins"),
    path("mcp/callback/", mcp_sign_in.callback, name="mcp_callback"),
    path("mcp/<uuid:server_id>/sign-in/", mcp_sign_in.sign_in, name="mcp_sign_in"),
    path("mcp/<uuid:server_id>/sign-out/", mcp_sign_in.sign_out, name="mcp_sign_out"),
    path("teams/<uuid:team_id>/personas/", personas.index, name="personas"),
    path("teams/<uuid:team_id>/personas/new/", personas.create, name="persona_create"),
    path("teams/<uuid:team_id>/personas/import/", importing.form, name="persona_import"),
    path("teams/<uuid:team_id>/personas/<uuid:persona_id>/", personas.edit, name="persona"),
    path(
        "teams/<uuid:team_id>/personas/<uuid:persona_id>/connect/",
        connecting.connect_model,
        name="connect_model",
    ),
    path(
        "teams/<uuid:team_id>/personas/<uuid:persona_id>/rights/",
        personas.grants,
        name="persona_grants",
    ),
    path(
        "teams/<uuid:team_id>/personas/<uuid:persona_id>/versions/<int:number>/restore/",
        personas.restore,
        name="persona_restore",
    ),
    path(
        "teams/<uuid:team_id>/personas/<uuid:persona_id>/switch/",
        personas.switch,
        name="persona_switch",
    ),
    path(
        "teams/<uuid:team_id>/personas/<uuid:persona_id>/delete/",
        personas.delete,
        name="persona_delete",
    ),
]
