"""The home page: mentions, answers, rooms to join, and the user's personas."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import TeamRole
from accounts.services.teams import add_team_member
from rooms import services
from rooms.models import Room, Run
from rooms.pages import home
from rooms.runs import lifecycle
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import answer, browser, get, say, words

pytestmark = pytest.mark.django_db


def part(html: str, group: str) -> str:
    """Return the words of a group of the page; empty if the group is absent."""
    found = re.search(rf'<section aria-labelledby="home-{group}">.*?</section>', html, re.DOTALL)
    return words(found[0]) if found else ""


def home_of(cast: Cast, name: str = "member") -> str:
    return str(get(getattr(cast, name), "/").content.decode())


def test_unread_mentions_lead_to_their_messages(cast: Cast) -> None:
    said = say(cast, cast.owner, "@member pick one")
    say(cast, cast.owner, "nothing for anybody")

    html = home_of(cast)

    assert words(part(html, "mentions")).startswith("Mentions 1 ")
    assert "Owner" in part(html, "mentions")
    assert "@member pick one" in part(html, "mentions")
    assert f"/rooms/{cast.room.pk}/messages/{said.pk}/" in html
    assert part(home_of(cast, "moderator"), "mentions") == ""
    services.post_message(
        user=cast.owner,
        room_id=cast.room.pk,
        text="@member inside",
        reply_to=said.pk,
        personas=[],
    )
    services.mark_read(user=cast.member, room_id=cast.room.pk, seq=cast.refreshed().last_seq)
    assert "@member inside" in part(home_of(cast), "mentions")
    assert "pick one" not in part(home_of(cast), "mentions")
    services.mark_thread_read(user=cast.member, message_id=said.pk, seq=cast.refreshed().last_seq)
    assert part(home_of(cast), "mentions") == ""
    assert "You have read everything." in words(home_of(cast))


def test_answers_to_own_questions_are_shown_until_they_are_read(cast: Cast) -> None:
    answer(cast, "twelve of thirty-one")

    assert "twelve of thirty-one" in part(home_of(cast), "answered")
    assert part(home_of(cast, "owner"), "answered") == ""
    Run.objects.update(ended_at=timezone.now() - home.AWAY - timedelta(hours=1))
    assert part(home_of(cast), "answered") == ""
    Run.objects.update(ended_at=timezone.now())
    services.mark_read(user=cast.member, room_id=cast.room.pk, seq=cast.refreshed().last_seq)
    assert part(home_of(cast), "answered") == ""


def test_unread_threads_that_the_user_follows_are_shown(cast: Cast) -> None:
    root = say(cast, cast.member, "When were those interviews?")
    assert part(home_of(cast), "threads") == ""

    services.post_message(
        user=cast.owner, room_id=cast.room.pk, text="in May", reply_to=root.pk, personas=[]
    )

    shown = part(home_of(cast), "threads")
    assert "When were those interviews?" in shown
    assert "1 reply" in shown
    assert f"/rooms/{cast.room.pk}/threads/{root.pk}/" in home_of(cast)
    assert part(home_of(cast, "moderator"), "threads") == ""


def test_nothing_of_a_room_that_the_user_has_left_is_shown(cast: Cast) -> None:
    say(cast, cast.owner, "@member pick one")
    answer(cast, "twelve of thirty-one")

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    assert "pick one" not in home_of(cast)
    assert "twelve" not in home_of(cast)


def test_open_rooms_show_members_personas_and_last_words(cast: Cast) -> None:
    room = services.create_room(
        user=cast.owner,
        team_id=cast.team.pk,
        name="reading",
        privacy="team",
        personas=[cast.persona.pk],
    )
    root = services.post_message(user=cast.owner, room_id=room.pk, text="on queues", personas=[])
    services.post_message(
        user=cast.owner,
        room_id=room.pk,
        text="only in the thread",
        reply_to=root.message.pk,
        personas=[],
    )
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)

    shown = part(home_of(cast), "joinable")

    for expected in ("reading", "Owner: on queues", "1 member", cast.persona.name, "Join"):
        assert expected in shown
    assert "reading" not in get(guest, "/").content.decode()
    services.join_room(user=cast.member, room_id=room.pk)
    assert part(home_of(cast), "joinable") == ""


def test_own_personas_are_those_that_the_user_may_edit(cast: Cast) -> None:
    shown = part(home_of(cast, "owner"), "personas")

    assert cast.persona.name in shown
    assert "1 room" in shown
    assert "Connect a model" in shown
    assert part(home_of(cast), "personas") == ""


def test_queries_do_not_depend_on_what_is_shown(cast: Cast) -> None:
    client = browser(cast.member)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/").status_code == 200
        return len([query for query in queries if "SAVEPOINT" not in query["sql"]])

    def fill(count: int) -> None:
        for number in range(count):
            say(cast, cast.owner, f"@member {number}")
            root = say(cast, cast.member, "root")
            services.post_message(
                user=cast.owner, room_id=cast.room.pk, text="yes", reply_to=root.pk, personas=[]
            )
            Room.objects.create(team=cast.team, name=f"open {number}", privacy="team")
            other = make_user(f"Other{count}{number}")
            add_team_member(cast.team, other, TeamRole.MEMBER)
            services.open_direct_room(
                user=cast.member, team_id=cast.team.pk, users=[other.pk], personas=[]
            )

    client.get("/")
    fill(1)
    few = cost()
    fill(home.GROUP + 2)
    assert cost() == few
    assert few <= 15
    Room.objects.filter(members=None).delete()  # they have no owner


def test_replaced_version_of_a_read_answer_is_not_news(cast: Cast) -> None:
    run = answer(cast, "the first version")
    services.mark_read(user=cast.member, room_id=cast.room.pk, seq=cast.refreshed().last_seq)

    services.retry_run(user=cast.member, run_id=run.pk)
    _claimed, job = claim_and_start("worker")  # type: ignore[misc]  # it was queued
    assert job is not None
    lifecycle.complete(job, "the second version", None)

    assert part(home_of(cast), "answered") == ""
