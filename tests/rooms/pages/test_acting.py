"""What pages show of personas that act: steps, cards that ask people, steering, rounds."""

import json
import re
from html import unescape
from typing import Any, Final

import pytest
from django.urls import reverse

from accounts.models import User
from agents.tool_types import MAX_ARGUMENTS
from rooms import services
from rooms.models import Message, Run
from rooms.permissions import set_room_role
from rooms.queries import MAX_BYTES
from rooms.runs.steps import waiting
from tests.rooms.acting import (
    LOOK,
    SEND,
    Asked,
    decide,
    propose,
    request,
    set_policy,
    started,
    waiting_run,
)
from tests.rooms.asking import make_question
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser, data_of, get, messages_on, page, post, words

CANARY: Final = "CANARY-of-the-arguments"


def card(cast: Cast, user: User) -> str:
    """Return the last message of the room's page as `user` sees it, which is the answer."""
    return messages_on(page(user, cast.room))[-1]


def asked(cast: Cast, arguments: str = '{"to": "all"}', **call: Any) -> Asked:
    found = waiting_run(cast)
    row = found.row
    row.arguments = arguments
    for name, value in call.items():
        setattr(row, name, value)
    row.save()
    return found


# Cards


@pytest.mark.django_db
def test_only_people_who_may_decide_get_arguments_and_buttons(cast: Cast) -> None:
    asked(cast, json.dumps({"to": CANARY}))

    for user in (cast.member, cast.moderator, cast.owner):
        html = card(cast, user)
        assert CANARY in html
        assert "Waiting for you" in words(html)
        assert 'value="allow"' in html
        assert "Changes something outside" in html
    html = card(cast, cast.reader)
    assert CANARY not in page(cast.reader, cast.room)
    assert "Waiting for a decision" in words(html)
    assert "What it would send is shown to them only." in words(html)
    assert "data-mine" not in html
    assert not re.search(r'class="ask-acts"(?! hidden)', html)


@pytest.mark.django_db
def test_person_who_lost_the_right_gets_no_arguments(cast: Cast) -> None:
    asked(cast, json.dumps({"to": CANARY}))
    set_room_role([cast.moderator], cast.room, "member")

    assert CANARY not in page(cast.moderator, cast.room)
    assert CANARY in page(cast.owner, cast.room)


@pytest.mark.django_db
def test_page_has_the_arguments_of_the_first_calls_up_to_its_size(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    long = json.dumps({"to": "x" * (MAX_ARGUMENTS - 20)})
    propose(started(cast), *(request(SEND, long) for _ in range(20)))

    html = card(cast, cast.member)

    cards = re.findall(r'data-kind="approval"( data-mine)?', html)
    assert (len(cards), cards.count(" data-mine")) == (20, MAX_BYTES // MAX_ARGUMENTS)


@pytest.mark.django_db
def test_decider_without_scripts_allows_and_denies_with_a_word(cast: Cast) -> None:
    allowed, denied = asked(cast), asked(cast)

    for call, fields in ((allowed, {"decision": "allow"}), (denied, {"decision": "deny"})):
        fields |= {"arguments_sha256": call.sha256, "note": "Not today"}
        answer = post(cast.member, "decide", call.call, **fields)
        assert answer.status_code == 302
        assert answer.headers["Location"].endswith(f"/messages/{call.answer.pk}/")

    assert (allowed.row.state, denied.row.state) == ("allowed", "denied")
    assert denied.row.note == "Not today"


@pytest.mark.django_db
def test_refused_decision_is_explained_on_the_page(cast: Cast) -> None:
    call = asked(cast)
    decide(cast, call, user=cast.moderator)
    client = browser(cast.member)
    address = reverse("rooms:decide", args=[call.call])

    answer = client.post(address, {"decision": "allow", "arguments_sha256": call.sha256})

    assert answer.status_code == 302
    room = client.get(reverse("rooms:room", args=[cast.room.pk])).content.decode()
    assert "Moderator allowed it first." in room


@pytest.mark.django_db
@pytest.mark.parametrize("missing", ["decision", "arguments_sha256"])
def test_incomplete_decision_changes_nothing(cast: Cast, missing: str) -> None:
    call = asked(cast)
    fields = {"decision": "allow", "arguments_sha256": call.sha256}
    del fields[missing]

    post(cast.member, "decide", call.call, **fields)

    assert call.row.state == "asked"


@pytest.mark.django_db
def test_onlooker_may_not_decide(cast: Cast) -> None:
    call = asked(cast)

    fields = {"decision": "allow", "arguments_sha256": call.sha256}

    assert post(cast.reader, "decide", call.call, **fields).status_code == 403
    assert post(cast.stranger, "decide", call.call, **fields).status_code == 404
    assert call.row.state == "asked"


@pytest.mark.django_db
def test_card_of_a_tool_that_changes_nothing_can_be_allowed_for_the_run(cast: Cast) -> None:
    waiting_run(cast, LOOK)
    html = card(cast, cast.member)

    assert "Changes something outside" in html
    assert re.search(r'<span class="tag" data-state="warn" hidden>', html)
    assert not re.search(r'value="allow_for_run"[^>]* hidden', html)
    asked(cast)
    assert re.search(r'value="allow_for_run"[^>]* hidden', card(cast, cast.member))


@pytest.mark.django_db
def test_markup_in_a_title_and_in_arguments_is_text(cast: Cast) -> None:
    asked(cast, json.dumps({"<b>": "</dd><script>alert(1)</script>"}), title="<img src=x>")

    html = page(cast.member, cast.room)

    assert "<script>alert" not in html
    assert "<img src=x>" not in html


@pytest.mark.django_db
def test_json_of_a_card_shows_what_would_hide_or_reorder_it(cast: Cast) -> None:
    raw = '{"path": "a\u202eb\ufe0f"}'
    asked(cast, raw)

    html = unescape(card(cast, cast.member))

    assert '<pre class="raw" data-json="' + raw in html  # for scripts
    assert '>{"path": "a\\u202eb\\ufe0f"}</pre>' in html


@pytest.mark.django_db
def test_data_of_the_page_has_no_arguments(cast: Cast) -> None:
    asked(cast, json.dumps({"to": CANARY}))

    html = page(cast.member, cast.room)

    assert CANARY not in json.dumps(data_of(html))
    assert html.count(CANARY) == 3  # its row, and the JSON for people and for scripts


# Questions


@pytest.mark.django_db
def test_asker_and_moderators_close_a_question_without_scripts(cast: Cast) -> None:
    job = started(cast)
    question = make_question(job.run, cast.owner.pk)
    waiting.wait(job, "Let me ask.", None)

    for user in (cast.member, cast.moderator, cast.owner):
        assert "Close the question" in words(card(cast, user))
    html = card(cast, cast.reader)
    assert "data-may-close" not in html
    assert re.search(r'class="ask-acts" hidden', html)
    assert post(cast.reader, "close_question", question.pk).status_code == 403
    assert post(cast.stranger, "close_question", question.pk).status_code == 404
    answer = post(cast.moderator, "close_question", question.pk)
    assert answer.headers["Location"].endswith(f"/messages/{question.call.run.answer_id}/")
    question.refresh_from_db()
    assert question.state == "answered"
    assert "data-may-close" not in page(cast.member, cast.room).split("<template")[0]


# What waits


@pytest.mark.django_db
def test_decisions_are_listed_in_header_panel_sidebar_and_home(cast: Cast) -> None:
    call = asked(cast)
    here = page(cast.member, cast.room)
    home = get(cast.member, "/").content.decode()

    assert "1 decision waits" in words(here)
    assert f'data-waiting="{call.call}"' in here
    assert "A decision waits for you" in here
    assert "A decision waits for you" in home
    assert f"asks to use {SEND.title} to all" in words(home)
    assert "Allow once" in home

    for address in ("/", reverse("rooms:room", args=[cast.room.pk])):
        assert "A decision waits for you" not in get(cast.reader, address).content.decode()


@pytest.mark.django_db
def test_home_marks_calls_that_change_something(cast: Cast) -> None:
    asked(cast, changes=False)
    assert "Changes something outside" not in get(cast.member, "/").content.decode()

    asked(cast)
    assert get(cast.member, "/").content.decode().count("Changes something outside") == 1


@pytest.mark.django_db
def test_home_offers_to_allow_only_what_it_shows_whole(cast: Cast) -> None:
    asked(cast, json.dumps({"text": "long " * 200}))
    home = get(cast.member, "/").content.decode()

    assert "Allow once" not in home
    assert ">Open<" in home


@pytest.mark.django_db
def test_value_at_home_cannot_look_like_another_argument(cast: Cast) -> None:
    asked(cast, json.dumps({"to": "one, amount: 5", "amount": "9\n, to: all"}))

    home = get(cast.member, "/").content.decode()

    rows = re.findall(r"<dt><bdi>(.*?)</bdi></dt><dd><bdi>(.*?)</bdi></dd>", home, re.DOTALL)
    assert rows == [("to", "one, amount: 5"), ("amount", "9\n, to: all")]
    assert words(home).count("amount: 5") == 1
    assert "Allow once" in home


@pytest.mark.django_db
def test_allowing_at_home_returns_there(cast: Cast) -> None:
    call = asked(cast)
    fields = {"decision": "allow", "arguments_sha256": call.sha256, "home": "yes"}

    answer = post(cast.member, "decide", call.call, **fields)

    assert answer.headers["Location"] == "/"
    assert call.row.state == "allowed"
    assert "To decide" not in get(cast.member, "/").content.decode()


# Steps, steering and rounds


def answer_with(cast: Cast, **fields: Any) -> Message:
    """Return a complete answer with these fields."""
    call = waiting_run(cast)
    services.cancel_run(user=cast.member, run_id=call.job.run)
    Message.objects.filter(pk=call.answer.pk).update(status="complete", **fields)
    Run.objects.filter(pk=call.job.run).update(state="completed")
    return call.answer


def stored(state: str, **fields: Any) -> dict[str, Any]:
    identity = {"call": str(request().id), "tool": "look", "title": "Look", "state": state}
    return identity | {"ms": 2_000, "result": None} | fields


@pytest.mark.django_db
def test_steps_of_an_answer_say_what_was_done(cast: Cast) -> None:
    answer_with(
        cast,
        steps=[
            stored("done", title="Search", result="14 found", ms=1_200),
            stored("failed", title="Fetch", result="no reply within 10 s", ms=None),
            stored("unknown", title="Set a value", ms=None),
        ],
    )

    found = words(card(cast, cast.reader))

    assert "Search 14 found, 1.2 s" in found
    assert "Fetch no reply within 10 s" in found
    assert "Set a value result unknown, not repeated" in found
    assert "steps," not in found


@pytest.mark.django_db
def test_many_steps_of_a_complete_answer_are_folded(cast: Cast) -> None:
    answer_with(cast, steps=[*(stored("done") for _ in range(4)), stored("denied", ms=None)])

    html = card(cast, cast.member)

    assert re.search(r"<details[^>]*><summary>5 steps, 8 s</summary>", html)


@pytest.mark.django_db
def test_steering_lines_have_author_and_state(cast: Cast) -> None:
    line = {
        "id": str(request().id),
        "by": str(cast.member.pk),
        "name": "Member",
        "at": "2026-01-01T00:00:00.000Z",
        "text": "<b>shorter</b>",
    }
    answer_with(
        cast,
        steered=[
            line | {"state": "applied", "after": 1},
            line | {"state": "accepted", "after": None},
            line | {"state": "failed", "after": None},
        ],
    )

    html = card(cast, cast.owner)

    found = words(html)
    assert "applied after step 1" in found
    assert "taken in at the next step" in found
    assert "the answer had ended" in found
    assert "Steered by Member : “ &lt;b&gt;shorter&lt;/b&gt; ”" in found


@pytest.mark.django_db
def test_round_is_shown_below_its_question(cast: Cast) -> None:
    question = services.post_message(
        user=cast.member, room_id=cast.room.pk, text="both of you", personas=[]
    ).message
    steps = [
        {"persona": str(cast.persona.pk), "name": "Garam", "run": None, "state": "completed"},
        {"persona": str(request().id), "name": "Byeori", "run": None, "state": "failed"},
        {"persona": str(request().id), "name": "Onsae", "run": None, "state": "waiting"},
    ]
    question.round = {
        "id": str(request().id),
        "message": str(question.pk),
        "requested_by": str(cast.member.pk),
        "steps": steps,
        "state": "paused",
    }
    question.save(update_fields=["round"])

    mine, others = card(cast, cast.member), card(cast, cast.reader)

    assert "1 Garam Done" in words(mine)
    assert "2 Byeori Failed" in words(mine)
    assert "3 Onsae Next" in words(mine)
    assert re.search(r"data-round-stop>", mine)
    assert re.search(r"data-round-skip>", mine)
    assert re.search(r"data-round-stop hidden>", others)
