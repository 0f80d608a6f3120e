"""Pages of rooms."""

from django.urls import path

from rooms.pages.views import (
    cards,
    conversation,
    creation,
    decisions,
    direct,
    history,
    home,
    invitations,
    prompts,
    settings,
    threads,
    votes,
)

app_name = "rooms"
urlpatterns = [
    path("", home.home, name="home"),
    path("rooms/", home.rooms, name="list"),
    path("teams/<uuid:team_id>/around/", home.people, name="people"),
    path("teams/<uuid:team_id>/direct/", direct.open_room, name="direct"),
    path(
        "teams/<uuid:team_id>/direct/people/", creation.find, {"of": "people"}, name="find_direct"
    ),
    path(
        "teams/<uuid:team_id>/direct/personas/",
        creation.find,
        {"of": "personas"},
        name="find_direct_personas",
    ),
    path("teams/<uuid:team_id>/around/<uuid:user_id>/", cards.person, name="person"),
    path(
        "teams/<uuid:team_id>/around/personas/<uuid:persona_id>/",
        cards.persona,
        name="persona_card",
    ),
    path("teams/<uuid:team_id>/arrive/", home.arrive, name="arrive"),
    path("teams/<uuid:team_id>/people/invite/", invitations.invite_people, name="invite_people"),
    path("teams/<uuid:team_id>/people/invite/rooms/", invitations.find, name="find_rooms_to_name"),
    path("teams/<uuid:team_id>/rooms/new/", creation.create, name="create"),
    path(
        "teams/<uuid:team_id>/rooms/new/people/",
        creation.find,
        {"of": "people"},
        name="find_people_of_new_room",
    ),
    path(
        "teams/<uuid:team_id>/rooms/new/personas/",
        creation.find,
        {"of": "personas"},
        name="find_personas_of_new_room",
    ),
    path("rooms/<uuid:room_id>/", conversation.room, name="room"),
    path("rooms/<uuid:room_id>/history/", history.history, name="history"),
    path("rooms/<uuid:room_id>/messages/", conversation.post, name="post"),
    path("rooms/<uuid:room_id>/messages/<uuid:message_id>/", conversation.message, name="message"),
    path("rooms/<uuid:room_id>/threads/<uuid:message_id>/", threads.thread, name="thread"),
    path("rooms/<uuid:room_id>/threads/<uuid:message_id>/data/", threads.data, name="thread_data"),
    path("rooms/<uuid:room_id>/threads/<uuid:message_id>/follow/", threads.follow, name="follow"),
    path("teams/<uuid:team_id>/threads/", threads.followed, name="threads"),
    path("rooms/<uuid:room_id>/join/", conversation.join, name="join"),
    path("rooms/<uuid:room_id>/leave/", conversation.leave, name="leave"),
    path("rooms/<uuid:room_id>/row/", home.row, name="row"),
    path("rooms/<uuid:room_id>/place/", conversation.place, name="place"),
    path("rooms/<uuid:room_id>/welcome/", conversation.dismiss_welcome, name="dismiss_welcome"),
    path("rooms/<uuid:room_id>/hand-over/", settings.hand_over, name="hand_over"),
    path("rooms/<uuid:room_id>/invite/", settings.invite, name="invite"),
    path("rooms/<uuid:room_id>/archive/", settings.archive, name="archive"),
    path("rooms/<uuid:room_id>/restore/", settings.restore, name="restore"),
    path("rooms/<uuid:room_id>/delete/", settings.delete, name="delete"),
    path("rooms/<uuid:room_id>/settings/", settings.change, name="settings"),
    path("rooms/<uuid:room_id>/people/find/", settings.find, {"of": "people"}, name="find_people"),
    path(
        "rooms/<uuid:room_id>/members/find/", settings.find, {"of": "members"}, name="find_members"
    ),
    path(
        "rooms/<uuid:room_id>/personas/find/",
        settings.find,
        {"of": "personas"},
        name="find_personas",
    ),
    path("rooms/<uuid:room_id>/people/add/", settings.add_person, name="add_person"),
    path("rooms/<uuid:room_id>/people/<uuid:user_id>/role/", settings.set_role, name="set_role"),
    path(
        "rooms/<uuid:room_id>/people/<uuid:user_id>/remove/",
        settings.remove_person,
        name="remove_person",
    ),
    path("rooms/<uuid:room_id>/personas/add/", settings.add_persona, name="add_persona"),
    path(
        "rooms/<uuid:room_id>/personas/<uuid:persona_id>/remove/",
        settings.remove_persona,
        name="remove_persona",
    ),
    path(
        "rooms/<uuid:room_id>/personas/<uuid:persona_id>/mute/",
        settings.mute_persona,
        name="mute_persona",
    ),
    path("messages/<uuid:message_id>/continue/", conversation.go_on, name="continue"),
    path(
        "teams/<uuid:team_id>/personas/<uuid:persona_id>/votes/", votes.votes, name="persona_votes"
    ),
    path("personas/<uuid:persona_id>/rooms/", settings.add_to_rooms, name="add_to_rooms"),
    path("approvals/<uuid:call_id>/decide/", decisions.decide, name="decide"),
    path("questions/<uuid:question_id>/answer/", decisions.answer, name="answer_question"),
    path("questions/<uuid:question_id>/close/", decisions.close, name="close_question"),
    path("rounds/<uuid:round_id>/cancel/", decisions.cancel_round, name="cancel_round"),
    path("rounds/<uuid:round_id>/skip/", decisions.skip_step, name="skip_step"),
    path("rooms/<uuid:room_id>/summary/", prompts.summary, name="summary"),
    path("runs/<uuid:run_id>/", prompts.run, name="run"),
    path("runs/<uuid:run_id>/cancel/", conversation.cancel, name="cancel"),
    path("runs/<uuid:run_id>/retry/", conversation.retry, name="retry"),
]
