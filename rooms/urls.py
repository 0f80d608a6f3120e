"""Pages of rooms."""

from django.urls import path

from rooms import views

app_name = "rooms"
urlpatterns = [
    path("", views.home, name="home"),
    path("teams/<uuid:team_id>/rooms/new/", views.create, name="create"),
    path("rooms/<uuid:room_id>/", views.room, name="room"),
    path("rooms/<uuid:room_id>/messages/", views.post, name="post"),
    path("rooms/<uuid:room_id>/join/", views.join, name="join"),
    path("rooms/<uuid:room_id>/leave/", views.leave, name="leave"),
    path("rooms/<uuid:room_id>/hand-over/", views.hand_over, name="hand_over"),
    path("rooms/<uuid:room_id>/invite/", views.invite, name="invite"),
    path("rooms/<uuid:room_id>/archive/", views.archive, name="archive"),
    path("rooms/<uuid:room_id>/restore/", views.restore, name="restore"),
    path("rooms/<uuid:room_id>/delete/", views.delete, name="delete"),
    path("rooms/<uuid:room_id>/settings/", views.settings, name="settings"),
    path("rooms/<uuid:room_id>/people/add/", views.add_person, name="add_person"),
    path("rooms/<uuid:room_id>/people/<uuid:user_id>/role/", views.set_role, name="set_role"),
    path(
        "rooms/<uuid:room_id>/people/<uuid:user_id>/remove/",
        views.remove_person,
        name="remove_person",
    ),
    path("rooms/<uuid:room_id>/personas/add/", views.add_persona, name="add_persona"),
    path(
        "rooms/<uuid:room_id>/personas/<uuid:persona_id>/remove/",
        views.remove_persona,
        name="remove_persona",
    ),
    path("runs/<uuid:run_id>/cancel/", views.cancel, name="cancel"),
    path("runs/<uuid:run_id>/retry/", views.retry, name="retry"),
]
