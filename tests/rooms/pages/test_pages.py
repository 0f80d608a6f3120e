"""The HTML of rooms' pages without scripts, and who may see it."""

import json
import re
from uuid import UUID, uuid4

import pytest
import time_machine
from django.urls import URLPattern, reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import TeamRole, User
from accounts.services import create_team
from accounts.services.teams import add_team_member
from agents.engine_types import AnswerFailed
from agents.services import Grant, create_demo_persona, put_grants
from rooms import services
from rooms.models import Message, Room, RoomMember, RoomRole, Run, RunState
from rooms.pages.urls import urlpatterns
from rooms.protocol.failures import failure_sentence
from tests.rooms.claiming import claim_run, start_run
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import (
    acting_ids,
    answer,
    ask,
    browser,
    data_of,
    get,
    messages_on,
    page,
    post,
    say,
    send,
    words,
)

pytestmark = pytest.mark.django_db


# Access


def addresses(cast: Cast, run: Run) -> dict[str, tuple[str, str]]:
    """Return every URL of the app by name, with ids that exist and with ids that do not."""
    ids = {
        "team_id": cast.team.pk,
        "room_id": cast.room.pk,
        "run_id": run.pk,
        "message_id": run.message_id,
        "user_id": cast.member.pk,
        "persona_id": cast.persona.pk,
        **acting_ids(run),
    }
    found = {}
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        names = pattern.pattern.converters
        real = {name: ids[name] for name in names}
        unreal = {name: uuid4() for name in names}
        name = f"rooms:{pattern.name}"
        found[name] = (reverse(name, kwargs=real), reverse(name, kwargs=unreal))
    return found


def test_stranger_gets_the_same_response_for_a_room_and_a_missing_room(cast: Cast) -> None:
    run = ask(cast)
    before = cast.refreshed().last_seq

    for name, (real, unreal) in addresses(cast, run).items():
        if name in ("rooms:home", "rooms:list"):
            continue
        for user in (cast.stranger, cast.nobody):
            for method in ("get", "post"):
                answers = [getattr(browser(user), method)(url) for url in (real, unreal)]
                codes = {one.status_code for one in answers}
                assert codes in ({302}, {404}, {405}), (name, method, codes)
                assert answers[0].content == answers[1].content, name

    assert cast.refreshed().last_seq == before


def test_anonymous_user_is_redirected_to_sign_in(cast: Cast) -> None:
    for real, unreal in addresses(cast, ask(cast)).values():
        for url in (real, unreal):
            for sent in (browser(None).get(url), browser(None).post(url)):
                assert sent.status_code == 302
                assert sent.headers["Location"].startswith(reverse("account_login"))


def test_page_of_another_team_answers_404(cast: Cast) -> None:
    theirs = create_team(user=cast.stranger, name="Theirs")

    assert get(cast.owner, f"/?team={theirs.pk}").status_code == 404
    assert get(cast.owner, f"/?team={uuid4()}").status_code == 404
    assert get(cast.owner, "/?team=nonsense").status_code == 404


def test_member_without_permission_gets_403(cast: Cast) -> None:
    for user in (cast.moderator, cast.member, cast.reader):
        assert get(user, reverse("rooms:settings", args=[cast.room.pk])).status_code == 403
        assert post(user, "remove_persona", cast.room.pk, cast.persona.pk).status_code == 403

    assert send(cast.reader, cast.room, "hello").status_code == 403
    assert not Message.objects.exists()


# Home


def test_list_shows_rooms_with_last_message_and_unread_count(cast: Cast) -> None:
    say(cast, cast.owner, "one")
    say(cast, cast.owner, "@member\n two")
    services.create_room(user=cast.owner, team_id=cast.team.pk, name="not for members")

    html = get(cast.member, "/rooms/").content.decode()

    assert "Owner: @member two" in html
    assert "1 mention" in html
    assert "not for members" not in html
    assert "mention" not in words(get(cast.owner, "/rooms/").content.decode())


def test_home_without_rooms_offers_to_create_one(cast: Cast) -> None:
    newcomer, guest = make_user("Newcomer"), make_user("Guest")
    add_team_member(cast.team, newcomer, TeamRole.MEMBER)
    add_team_member(cast.team, guest, TeamRole.GUEST)

    assert reverse("rooms:create", args=[cast.team.pk]) in get(newcomer, "/").content.decode()
    assert reverse("rooms:create", args=[cast.team.pk]) not in get(guest, "/").content.decode()


def test_guest_sees_only_people_of_shared_rooms(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    room = services.create_room(user=cast.owner, team_id=cast.team.pk, name="shared")
    services.put_member(user=cast.owner, room_id=room.pk, member_id=guest.pk, role=RoomRole.MEMBER)

    html = get(guest, reverse("rooms:people", args=[cast.team.pk])).content.decode()

    assert "Owner" in html
    assert "Moderator" not in html


def test_guest_who_owns_a_room_sees_no_other_people(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    hidden = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    room = services.create_room(user=cast.owner, team_id=cast.team.pk, name="shared")
    services.put_member(user=cast.owner, room_id=room.pk, member_id=guest.pk, role=RoomRole.OWNER)
    address = reverse("rooms:settings", args=[room.pk])

    theirs, owners = (get(user, address).content.decode() for user in (guest, cast.owner))

    assert "Owner" in theirs
    for known in ("@moderator", f"@{hidden.handle}", f"@{cast.persona.handle}"):
        assert known in owners
        assert known not in theirs


@pytest.mark.parametrize("grants", [[], [Grant(frozenset({"use"}), role="guest")]])
def test_pages_and_api_show_the_same_personas(cast: Cast, grants: list[Grant]) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    services.unbind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=cast.persona.pk)
    create_demo_persona(user=cast.owner, team_id=cast.team.pk)  # visible to the whole team
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)

    shown = {}
    for user in (cast.owner, cast.member, guest):
        on_page = {persona.pk for persona in get(user, "/").context["personas"]}
        listed = get(user, f"/api/v1/teams/{cast.team.pk}/personas").json()["items"]
        assert {UUID(persona["id"]) for persona in listed} == on_page
        shown[user.name] = len(on_page)

    assert shown == {"Owner": 2, "Member": 1, "Guest": len(grants)}


def test_user_without_a_team_sees_how_to_join_one(cast: Cast) -> None:
    answer = get(cast.nobody, "/")

    assert answer.status_code == 200
    assert "invitation" in answer.content.decode()


def test_home_shows_the_team_that_was_viewed_last(cast: Cast) -> None:
    second = create_team(user=cast.owner, name="Another team")
    client = browser(cast.owner)

    client.get(f"/?team={cast.team.pk}")
    assert client.get("/").context["team"] == cast.team
    client.get(f"/?team={second.pk}")
    assert client.get("/").context["team"] == second


# The timeline


def test_room_is_readable_without_scripts(cast: Cast) -> None:
    say(cast, cast.owner, "Hello **everybody**")
    answer(cast, "An *answer*.")

    first, question, reply = messages_on(page(cast.member, cast.room))

    assert "<strong>everybody</strong>" in first
    assert 'data-author="user"' in question
    assert "<em>answer</em>" in reply
    assert 'data-author="persona"' in reply
    assert 'data-state="completed"' in reply
    assert "1,234 tokens" in words(reply)


def test_only_personas_have_the_ai_mark(cast: Cast) -> None:
    cast.member.name = "Garam AI"
    cast.member.save()
    say(cast, cast.member, "I am a persona")
    answer(cast)

    by_user, _question, by_persona = messages_on(page(cast.owner, cast.room))

    assert 'aria-label="AI"' in by_persona
    assert 'aria-label="AI"' not in by_user


def test_names_are_escaped(cast: Cast) -> None:
    markup = '"></script><script>alert(1)</script><img src=x onerror=alert(1)>'
    Room.objects.update(name=markup[:80], topic=markup)
    User.objects.filter(pk=cast.member.pk).update(name=markup[:40])
    say(cast, User.objects.get(pk=cast.member.pk), f"{markup} @{markup}")

    html = page(cast.owner, cast.room)

    assert "<script>alert" not in html
    assert "<img" not in html
    assert data_of(html)["state"]["room"]["topic"] == markup


def test_pages_contain_no_inline_style_or_script(cast: Cast) -> None:
    answer(cast)
    pages = [
        page(cast.owner, cast.room),
        get(cast.owner, "/").content.decode(),
        get(cast.owner, reverse("rooms:create", args=[cast.team.pk])).content.decode(),
        get(cast.owner, reverse("rooms:settings", args=[cast.room.pk])).content.decode(),
    ]

    for html in pages:
        assert not re.search(r"<[^>]*\sstyle=", html)
        assert not re.search(r"<[^>]*\son[a-z]+=", html)
        for tag in re.findall(r"<script[^>]*>", html):
            assert "src=" in tag or 'type="application/json"' in tag


def test_mention_of_the_reader_is_highlighted(cast: Cast) -> None:
    say(cast, cast.owner, f"@{cast.member.handle} look")

    mine = f'data-handle="{cast.member.handle}" data-state="me"'
    assert mine in page(cast.member, cast.room)
    assert mine not in page(cast.reader, cast.room)


def test_unread_line_stands_after_the_last_read_message(cast: Cast) -> None:
    read = say(cast, cast.owner, "read", minutes=3)
    say(cast, cast.owner, "unread", minutes=2)
    RoomMember.objects.filter(user=cast.member).update(read_seq=read.seq)

    html = page(cast.member, cast.room)

    assert html.index(">read</p>") < html.index("data-unread") < html.index(">unread</p>")
    assert "New since" in words(html)
    assert "data-unread" not in page(cast.owner, cast.room).split("<template")[0]


@time_machine.travel(
    timezone.now().replace(hour=12)
)  # away from midnight: a message after a day line shows its name
def test_consecutive_messages_of_a_person_show_the_name_once(cast: Cast) -> None:
    for minutes, user in ((20, cast.owner), (18, cast.owner), (10, cast.owner), (9, cast.member)):
        say(cast, user, "line", minutes)
    RoomMember.objects.update(read_seq=999)

    continued = [
        "data-continued" in message for message in messages_on(page(cast.owner, cast.room))
    ]

    assert continued == [False, True, False, False]


def test_day_lines_use_the_time_zone_of_the_reader(cast: Cast) -> None:
    message = say(cast, cast.owner, "late")
    late = timezone.now().replace(year=2026, month=3, day=1, hour=20, minute=30)
    Message.objects.filter(pk=message.pk).update(created_at=late)

    assert "Sunday 1 March" in page(cast.owner, cast.room)
    assert "Monday 2 March" in page(cast.owner, cast.room, maru_zone="Asia/Seoul")
    for nonsense in ("../../etc/passwd", "No/Where", "Asia", "x" * 3_000, "a\x00b", ""):
        assert "Sunday 1 March" in page(cast.owner, cast.room, maru_zone=nonsense), nonsense


def test_earlier_messages_are_on_the_previous_page(cast: Cast) -> None:
    for number in range(60):
        say(cast, cast.owner, f"line {number}")

    newest = page(cast.member, cast.room)
    link = re.search(r'data-earlier href="[^"]*(\?before=\d+)"', newest)
    assert link is not None
    earlier = page(cast.member, cast.room, link[1])

    assert [words(m).split("line ")[1].split()[0] for m in messages_on(newest)] == [
        *map(str, range(36, 60))
    ]
    assert [words(m).split("line ")[1].split()[0] for m in messages_on(earlier)] == [
        *map(str, range(36))
    ]
    assert 'name="text"' not in earlier


def test_room_data_continues_the_rendered_page(cast: Cast) -> None:
    answer(cast, failure=AnswerFailed("timeout"))

    data = data_of(page(cast.member, cast.room))

    assert data["seq"] == cast.refreshed().last_seq
    assert data["me"] == str(cast.member.pk)
    assert [message["html"] for message in data["state"]["messages"]] == ["", ""]
    assert data["ended"][0]["error"] == {
        "code": "timeout",
        "detail": failure_sentence("timeout"),
    }
    assert "instructions" not in json.dumps(data)


def test_query_count_of_a_room_does_not_depend_on_its_messages(
    cast: Cast, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = browser(cast.owner)
    for number in range(30):
        say(cast, cast.member, f"line {number} @owner")
        answer(cast)
        services.create_room(user=cast.owner, team_id=cast.team.pk, name=f"room {number}")
    address = reverse("rooms:room", args=[cast.room.pk])
    client.get(address)

    with django_assert_max_num_queries(19):
        client.get(address)
    with django_assert_max_num_queries(15):
        client.get("/")


# The states of an answer


def test_queued_run_can_be_cancelled_by_its_requester(cast: Cast) -> None:
    run = ask(cast)

    mine = messages_on(page(cast.member, cast.room))[-1]
    theirs = messages_on(page(cast.reader, cast.room))[-1]

    assert 'data-state="queued"' in mine
    assert "stop" in re.findall(r'data-may="([^"]*)"', mine)[0]
    assert re.findall(r'data-may="([^"]*)"', theirs) == [""]
    assert post(cast.reader, "cancel", run.pk).status_code == 403
    assert post(cast.member, "cancel", run.pk).status_code == 302
    assert Run.objects.get(pk=run.pk).state == RunState.CANCELLED


def test_failed_answer_keeps_its_text_and_shows_the_error(cast: Cast) -> None:
    run = answer(cast, "so far", AnswerFailed("provider_refused", "model"))

    failed = messages_on(page(cast.member, cast.room))[-1]

    assert 'data-state="failed"' in failed
    assert "so far" in failed
    assert failure_sentence("provider_refused", "model") in failed
    assert "retry" in re.findall(r'data-may="([^"]*)"', failed)[0]
    assert post(cast.member, "retry", run.pk).status_code == 302
    assert Run.objects.filter(message=run.message, state=RunState.QUEUED).count() == 1
    failed = next(m for m in messages_on(page(cast.member, cast.room)) if "so far" in m)
    assert "retry" not in re.findall(r'data-may="([^"]*)"', failed)[0]


def test_stopped_answer_names_the_user_who_stopped_it(cast: Cast) -> None:
    run = ask(cast)
    claim_run("test")
    start_run(run.pk, "test")

    post(cast.moderator, "cancel", run.pk)

    stopped = messages_on(page(cast.member, cast.room))[-1]
    assert 'data-state="stopped"' in stopped
    assert "Stopped by Moderator" in words(stopped)
