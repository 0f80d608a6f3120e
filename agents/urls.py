"""The pages of connections and personas."""

from django.urls import path

from agents.views import connections, personas

app_name = "agents"

urlpatterns = [
    path("teams/<uuid:team_id>/connections/", connections.index, name="connections"),
    path("teams/<uuid:team_id>/connections/new/", connections.create, name="connection_create"),
    path("teams/<uuid:team_id>/connections/try/", connections.try_new, name="connection_try"),
    path("teams/<uuid:team_id>/connections/<uuid:pk>/", connections.edit, name="connection"),
    path(
        "teams/<uuid:team_id>/connections/<uuid:pk>/check/",
        connections.check,
        name="connection_check",
    ),
    path(
        "teams/<uuid:team_id>/connections/<uuid:pk>/delete/",
        connections.delete,
        name="connection_delete",
    ),
    path("teams/<uuid:team_id>/personas/", personas.index, name="personas"),
    path("teams/<uuid:team_id>/personas/new/", personas.create, name="persona_create"),
    path("teams/<uuid:team_id>/personas/<uuid:pk>/", personas.edit, name="persona"),
    path(
        "teams/<uuid:team_id>/personas/<uuid:pk>/rights/",
        personas.grants,
        name="persona_grants",
    ),
    path(
        "teams/<uuid:team_id>/personas/<uuid:pk>/versions/<int:number>/restore/",
        personas.restore,
        name="persona_restore",
    ),
    path("teams/<uuid:team_id>/personas/<uuid:pk>/switch/", personas.switch, name="persona_switch"),
    path("teams/<uuid:team_id>/personas/<uuid:pk>/delete/", personas.delete, name="persona_delete"),
]
