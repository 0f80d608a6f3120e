"""What the pages say about who answers, and the forms that change it."""

from uuid import UUID

import pytest
from django.urls import reverse

from accounts.errors import NotFound
from accounts.models import TeamRole
from accounts.services.teams import add_team_member
from agents.models import Persona
from agents.services import create_demo_persona, set_persona_enabled, update_persona
from rooms import services
from rooms.models import AnswerPolicy, Message, Room
from rooms.permissions import MANAGE, access_room
from rooms.runs.chains import QUEUE_IS_FULL
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import answer, data_of, get, page, post, words

pytestmark = pytest.mark.django_db


def composer(cast: Cast, language: str = "") -> str:
    """Return the words of the composer's bar for the owner."""
    html = page(cast.owner, cast.room, django_language=language)
    bar = html.partition("data-answers-opener")[2].partition("</button>")[0]
    return words("<b" + bar).replace(" :", ":")


def second(cast: Cast, **fields: str) -> Persona:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    if fields:
        update_persona(user=cast.owner, persona_id=persona.pk, **fields)  # type: ignore[arg-type]  # a TypedDict
    services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)
    return persona


def test_composer_says_who_answers_and_why(cast: Cast) -> None:
    name = cast.persona.name
    assert composer(cast) == f"{name} will answer: answers here by default"

    services.update_room(user=cast.owner, room_id=cast.room.pk, answer_policy=AnswerPolicy.MENTION)
    assert composer(cast) == "Nobody will answer: only when a persona is named"

    services.update_room(user=cast.owner, room_id=cast.room.pk, answer_policy=AnswerPolicy.OFF)
    assert composer(cast) == "Nobody will answer: no persona answers in this room"


def test_composer_uses_the_korean_particle_of_the_name(cast: Cast) -> None:
    update_persona(user=cast.owner, persona_id=cast.persona.pk, name="가람")
    assert composer(cast, "ko") == "가람 이 답합니다: 이 방의 기본"

    update_persona(user=cast.owner, persona_id=cast.persona.pk, name="벼리")
    assert composer(cast, "ko") == "벼리 가 답합니다: 이 방의 기본"


def test_room_without_an_answering_persona_says_so(cast: Cast) -> None:
    def line(html: str) -> str:
        return html.partition("data-no-persona")[2].partition("</p>")[0]

    assert line(page(cast.owner, cast.room)).startswith(" hidden")
    set_persona_enabled(user=cast.owner, persona_id=cast.persona.pk, enabled=False)

    for_owner, for_member = (line(page(user, cast.room)) for user in (cast.owner, cast.member))
    assert for_owner.startswith(">No persona can answer in this room.")
    assert reverse("rooms:settings", args=[cast.room.pk]) in for_owner
    assert "An owner of the room can add one." in for_member
    assert "href" not in for_member


def test_persona_that_the_reader_may_not_use_does_not_answer(cast: Cast) -> None:
    cast.persona.grants.all().delete()

    data = data_of(page(cast.member, cast.room))

    assert data["unusable"] == [str(cast.persona.pk)]
    assert data_of(page(cast.owner, cast.room))["unusable"] == [str(cast.persona.pk)]


def test_answer_says_why_it_was_given(cast: Cast) -> None:
    answer(cast)

    assert "because it answers here by default" in page(cast.reader, cast.room)


def test_settings_mute_a_persona(cast: Cast) -> None:
    def send(muted: str) -> Room:
        sent = post(cast.owner, "mute_persona", cast.room.pk, cast.persona.pk, muted=muted)
        assert sent.status_code == 302
        return cast.refreshed()

    assert send("on").muted_personas == [str(cast.persona.pk)]
    assert "Unmute" in words(
        get(cast.owner, reverse("rooms:settings", args=[cast.room.pk])).content.decode()
    )
    assert "Muted: answers when mentioned" in page(cast.reader, cast.room)
    assert send("").muted_personas == []
    sent = post(cast.member, "mute_persona", cast.room.pk, cast.persona.pk, muted="on")
    assert sent.status_code == 403


def test_settings_allow_answers_between_personas(cast: Cast) -> None:
    def send(turns: str) -> int:
        fields = {"name": "room", "answer_policy": "default", "persona_turns": turns}
        post(cast.owner, "settings", cast.room.pk, **fields)
        return cast.refreshed().persona_turns

    assert send("3") == 3
    assert send("") == 3  # a form without the field
    assert send("11") == 3
    assert send("0") == 0


def test_settings_choose_how_several_personas_answer(cast: Cast) -> None:
    other = second(cast, handle="other")

    def send(**fields: str) -> tuple[str, UUID | None, bool]:
        form = {"name": "room", "answer_policy": "default", **fields}
        assert post(cast.owner, "settings", cast.room.pk, **form).status_code == 302
        room = cast.refreshed()
        return room.mode, room.lead_id, room.other_decides

    assert send(mode="led", lead=str(other.pk), other_decides="on") == ("led", other.pk, True)
    assert send(other_decides="on") == ("led", other.pk, True)  # a form without the other fields
    shown = get(cast.owner, reverse("rooms:settings", args=[cast.room.pk])).content.decode()
    assert "One persona leads and asks the others" in shown
    assert send(mode="round", lead="") == ("round", None, False)
    name = cast.persona.name
    assert composer(cast) == f"{name}, then {other.name} will answer: in turn"


def test_lead_must_be_in_the_room(cast: Cast) -> None:
    other = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    with pytest.raises(NotFound):
        services.update_room(user=cast.owner, room_id=cast.room.pk, lead=other.pk)
    services.update_room(user=cast.owner, room_id=cast.room.pk, lead=cast.persona.pk)

    services.unbind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=cast.persona.pk)

    assert cast.refreshed().lead is None


def test_stopped_chain_is_continued_without_scripts(cast: Cast) -> None:
    other = second(cast, handle="other")
    services.update_room(user=cast.owner, room_id=cast.room.pk, persona_turns=0)
    run = answer(cast, "@other?")
    Message.objects.filter(answered_by=run).update(capped_at=1)
    assert "The personas stopped here: the limit is 1 answer." in page(cast.reader, cast.room)
    Message.objects.filter(answered_by=run).update(capped_at=QUEUE_IS_FULL)
    full = "The personas stopped here: too many questions are waiting."
    assert full in page(cast.reader, cast.room)

    sent = post(cast.moderator, "continue", run.answer_id)

    assert sent.status_code == 302
    queued = cast.room.runs.active().get()
    assert (queued.persona, queued.requested_by) == (other, cast.moderator)
    assert post(cast.reader, "continue", run.answer_id).status_code == 403


def test_new_room_has_the_chosen_default_persona(cast: Cast) -> None:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    fields = {"name": "ideas", "personas": [cast.persona.pk, persona.pk]}

    post(cast.owner, "create", cast.team.pk, **fields, default_persona=persona.pk)

    assert Room.objects.get(name="ideas").default_persona == persona


def test_default_persona_of_a_new_room_is_one_of_its_personas(cast: Cast) -> None:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    fields = {"name": "ideas", "personas": [cast.persona.pk], "default_persona": persona.pk}

    sent = post(cast.owner, "create", cast.team.pk, **fields)

    assert "Choose one of the personas of this room." in sent.content.decode()
    assert not Room.objects.filter(name="ideas").exists()


def test_new_persona_is_offered_rooms(cast: Cast) -> None:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    address = reverse("agents:persona", args=[cast.team.pk, persona.pk])
    other = services.create_room(user=cast.owner, team_id=cast.team.pk, name="second")
    theirs = services.create_room(user=cast.member, team_id=cast.team.pk, name="of the member")

    offered = get(cast.owner, address).content.decode()
    assert all(f'value="{room.pk}"' in offered for room in (cast.room, other))
    assert str(theirs.pk) not in offered
    sent = post(cast.owner, "add_to_rooms", persona.pk, room=[cast.room.pk, other.pk])

    assert sent.headers["Location"] == address
    assert set(persona.rooms.all()) == {cast.room, other}
    assert "In which rooms should" not in get(cast.owner, address).content.decode()


def test_rooms_of_others_are_refused_for_a_new_persona(cast: Cast) -> None:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    admin = make_user("Admin")
    add_team_member(cast.team, admin, TeamRole.ADMIN)

    post(admin, "add_to_rooms", persona.pk, room=[cast.room.pk])

    assert not persona.rooms.exists()
    assert access_room(cast.owner, cast.room.pk, MANAGE)
