"""The form posts of rooms work without scripts."""

import re
from uuid import UUID, uuid4

import pytest
from django.urls import reverse
from pytest_django import Settings

from accounts import rate_limits
from accounts.models import TeamRole
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona
from rooms import services
from rooms.models import AnswerPolicy, Message, Room, RoomRole, Run
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import browser, get, page, post, send, words

pytestmark = pytest.mark.django_db


# Posting a message


def test_form_posts_a_message(cast: Cast) -> None:
    answer = send(cast.member, cast.room, "hello\r\nthere")

    message = Message.objects.get()
    assert message.text == "hello\nthere"
    assert answer.headers["Location"].endswith(f"#message-{message.pk}")
    assert Run.objects.get().persona == cast.persona


def test_rate_limited_form_has_a_retry_after_header(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = True
    monkeypatch.setattr(
        rate_limits, "LIMITS", {(rate_limits.SEND, rate_limits.USER): rate_limits.RateLimit(1, 60)}
    )
    counters = rate_limits.MemoryCounters()
    monkeypatch.setattr(rate_limits, "get_counters", lambda: counters)

    first, second = (send(cast.member, cast.room, "hello") for _ in range(2))

    assert (first.status_code, second.status_code) == (302, 429)
    assert 1 <= int(second.headers["Retry-After"]) <= 60
    assert "hello" in second.content.decode()


def test_form_posted_twice_creates_one_message(cast: Cast) -> None:
    client_id = uuid4()

    for _ in range(2):
        assert send(cast.member, cast.room, "hello", client_id=client_id).status_code == 302

    assert Message.objects.count() == Run.objects.count() == 1


@pytest.mark.parametrize(("choice", "asked"), [("usual", 1), ("none", 0), ("persona", 1), ("", 1)])
def test_form_chooses_the_responders(cast: Cast, choice: str, asked: int) -> None:
    value = cast.persona.pk if choice == "persona" else choice

    send(cast.member, cast.room, "hello", answers=value)

    assert Run.objects.count() == asked


@pytest.mark.parametrize(
    ("text", "status"), [("x" * 16_001, 413), ("   ", 400), ("", 400), ("a\x00b", 400)]
)
def test_refused_text_stays_in_the_composer(cast: Cast, text: str, status: int) -> None:
    answer = send(cast.member, cast.room, text)

    html = answer.content.decode()
    field = re.search(r"<textarea[^>]*>(.*?)</textarea>", html, flags=re.DOTALL)
    assert answer.status_code == status
    assert field is not None
    assert field[1].strip() == text.strip()
    assert 'aria-invalid="true"' in html
    assert not Message.objects.exists()


def test_persona_of_another_team_cannot_be_asked(cast: Cast) -> None:
    theirs = cast.stranger.memberships.get().team
    foreign = create_demo_persona(user=cast.stranger, team_id=theirs.pk)

    for persona in (foreign.pk, uuid4(), "nonsense"):
        assert send(cast.member, cast.room, "hello", answers=persona).status_code in (400, 404)
    assert not Message.objects.exists()


def test_reader_gets_no_composer(cast: Cast) -> None:
    html = page(cast.reader, cast.room).split("<template")[0]

    assert re.search(r"<div data-writing hidden>", html)
    assert "You can only read in this room." in html


# Creating and changing rooms


def test_new_room_contains_the_chosen_personas_and_people(cast: Cast) -> None:
    answer = post(
        cast.owner,
        "create",
        cast.team.pk,
        name="ideas",
        topic="all of them",
        personas=[cast.persona.pk],
        people=[cast.member.pk, cast.reader.pk],
    )

    room = Room.objects.get(name="ideas")
    assert answer.headers["Location"] == reverse("rooms:room", args=[room.pk])
    assert {m.user_id: m.role for m in room.members.all()} == {
        cast.owner.pk: RoomRole.OWNER,
        cast.member.pk: RoomRole.MEMBER,
        cast.reader.pk: RoomRole.MEMBER,
    }
    assert [*room.personas.all()] == [cast.persona]


def test_room_cannot_be_created_with_people_or_personas_of_another_team(cast: Cast) -> None:
    theirs = create_demo_persona(
        user=cast.stranger, team_id=cast.stranger.memberships.get().team_id
    )
    wrong: list[dict[str, object]] = [
        {"name": ""},
        {"name": "x" * 81},
        {"name": "ideas", "personas": [theirs.pk]},
        {"name": "ideas", "people": [cast.stranger.pk]},
    ]

    for fields in wrong:
        assert post(cast.owner, "create", cast.team.pk, **fields).status_code == 200
    assert Room.objects.filter(team=cast.team).count() == 1


def test_form_for_a_new_room_lists_the_permitted_personas(cast: Cast) -> None:
    confined = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    services.confine_persona(user=cast.owner, persona_id=confined.pk, room_ids=[cast.room.pk])

    html = get(cast.member, reverse("rooms:create", args=[cast.team.pk])).content.decode()

    assert f'value="{cast.persona.pk}"' in html
    assert f'value="{confined.pk}"' not in html


def test_guest_cannot_create_a_room(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)

    assert post(guest, "create", cast.team.pk, name="ideas").status_code == 403


def test_settings_form_changes_the_room(cast: Cast) -> None:
    post(
        cast.owner,
        "settings",
        cast.room.pk,
        name="renamed",
        topic="new",
        answer_policy=AnswerPolicy.MENTION,
        default_persona=cast.persona.pk,
    )

    room = cast.refreshed()
    assert (room.name, room.topic, room.answer_policy) == ("renamed", "new", "mention")
    assert room.default_persona == cast.persona


def test_unchanged_settings_form_writes_nothing(cast: Cast) -> None:
    before = cast.refreshed().last_seq

    post(cast.owner, "settings", cast.room.pk, name="room", topic="", answer_policy="default")

    assert cast.refreshed().last_seq == before


def test_every_answer_policy_is_offered(cast: Cast) -> None:
    for policy in AnswerPolicy.values:
        post(cast.owner, "settings", cast.room.pk, name="new name", answer_policy=policy)

        assert cast.refreshed().answer_policy == policy


def test_members_are_added_changed_and_removed(cast: Cast) -> None:
    newcomer = make_user("Newcomer")
    add_team_member(cast.team, newcomer, TeamRole.MEMBER)
    room = cast.room

    def role() -> str | None:
        return room.members.filter(user=newcomer).values_list("role", flat=True).first()

    post(cast.owner, "add_person", room.pk, person=newcomer.pk, role="reader")
    assert role() == RoomRole.READER
    post(cast.owner, "set_role", room.pk, newcomer.pk, role="moderator")
    assert role() == RoomRole.MODERATOR
    post(cast.owner, "remove_person", room.pk, newcomer.pk)
    assert role() is None


@pytest.mark.parametrize("person", ["stranger", "nobody", "unknown"])
def test_person_outside_the_team_cannot_be_added(cast: Cast, person: str) -> None:
    pk: UUID = uuid4() if person == "unknown" else getattr(cast, person).pk

    answer = post(cast.owner, "add_person", cast.room.pk, person=pk, role="member")

    assert answer.status_code == 404
    assert not cast.room.members.filter(user_id=pk).exists()


def test_last_owner_cannot_leave_or_lose_the_role(cast: Cast) -> None:
    client = browser(cast.owner)
    for name in ("set_role", "remove_person"):
        address = reverse(f"rooms:{name}", args=[cast.room.pk, cast.owner.pk])
        answer = client.post(address, {"role": "member"}, follow=True)
        assert "A room needs an owner" in words(answer.content.decode())

    answer = client.post(reverse("rooms:leave", args=[cast.room.pk]), follow=True)

    assert "A room needs an owner" in words(answer.content.decode())
    assert cast.room.members.get(user=cast.owner).role == RoomRole.OWNER


def test_member_who_leaves_loses_access(cast: Cast) -> None:
    assert post(cast.member, "leave", cast.room.pk).headers["Location"] == reverse("rooms:home")

    assert get(cast.member, reverse("rooms:room", args=[cast.room.pk])).status_code == 404


def test_personas_are_added_and_removed(cast: Cast) -> None:
    post(cast.owner, "remove_persona", cast.room.pk, cast.persona.pk)
    assert not cast.room.personas.exists()

    post(cast.owner, "add_persona", cast.room.pk, persona=cast.persona.pk)
    assert cast.room.personas.get() == cast.persona


def test_malformed_form_is_refused_without_effect(cast: Cast) -> None:
    before = cast.refreshed().last_seq

    for name, fields in (
        ("add_person", {"person": "nonsense", "role": "member"}),
        ("add_person", {"person": cast.nobody.pk, "role": "emperor"}),
        ("add_persona", {"persona": "nonsense"}),
    ):
        post(cast.owner, name, cast.room.pk, **fields)

    assert cast.refreshed().last_seq == before


def test_highlighted_mention_of_a_persona_starts_its_run(cast: Cast) -> None:
    Room.objects.update(answer_policy=AnswerPolicy.MENTION)
    handle = cast.persona.handle

    for text in (f"@{handle}님께 묻습니다", f"(@{handle.upper()})", f"@{handle}x", f"a@{handle}"):
        send(cast.member, cast.room, text)

    messages = Message.objects.order_by("seq")
    shown = ['class="mention"' in message.html for message in messages]
    assert shown == [True, True, False, False]
    assert [message.runs.exists() for message in messages] == shown
