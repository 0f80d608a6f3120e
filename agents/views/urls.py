"""The URLs of the pages of connections and personas."""

from django.urls import path

from agents.views import connecting, connections, importing, personas

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
