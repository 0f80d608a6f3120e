"""The title and the result of a tool call are in the language of their reader."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest
from django.test import Client
from django.utils import translation
from msgspec import to_builtins

from accounts.models import User
from accounts.services import create_token
from agents.mcp import sessions
from agents.models import PersonaTool
from agents.tool_types import ToolResult
from agents.tools.catalog import CATALOG
from agents.tools.failure_words import FAILURE_WORDS
from agents.tools.registry import specs_for
from rooms.models import Message, RoomEvent
from rooms.protocol.serializers import step
from rooms.runs.prompts.recorder import record as record_prompts
from rooms.runs.steps import journal, waiting
from tests.rooms.acting import LOOK, Asked, begun, propose, request, started
from tests.rooms.asking import make_question
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import answer, words

pytestmark = pytest.mark.django_db

KOREAN: Final = {"Accept-Language": "ko"}
CALCULATOR: Final = next(tool for tool in CATALOG if tool.key == "calculator")


@pytest.fixture
def asked(cast: Cast) -> Asked:
    """A call of a tool of our own that waits for a decision, asked by a Korean reader."""
    PersonaTool.objects.create(persona=cast.persona, tool=CALCULATOR.id, policy="ask")
    with translation.override("ko"):
        job = started(cast)
        (spec,) = specs_for(cast.persona)
        call = request(spec, '{"expression": "6 * 7"}')
        assert propose(job, call) == ["asked"]
        waiting.wait(job, "", None)
        record_prompts([job])
    return Asked(job, call.id)


def read(user: User, address: str, **headers: str) -> str:
    client = Client(headers=headers)
    client.force_login(user)
    return str(client.get(address).content.decode())


def shown(html: str) -> str:
    """Return the words of a page, without its templates and its data."""
    parts = html.split("<template")
    plain = parts[0] + "".join(part.partition("</template>")[2] for part in parts[1:])
    return words(plain.partition('<script id="room-data"')[0])


def events_of(kind: str) -> list[dict[str, Any]]:
    rows = RoomEvent.objects.filter(type=kind).order_by("seq")
    return [json.loads(row.payload) for row in rows]


def test_events_have_the_title_in_english_for_every_asker(asked: Asked) -> None:
    approval = events_of("approval.requested")[0]["approval"]
    shown_step = events_of("message.updated")[-1]["message"]["steps"][0]

    for body in (approval, shown_step):
        assert (body["tool"], body["title"], body["own"]) == ("calculator", "Calculator", True)


@pytest.mark.parametrize("place", ["room", "home", "run"])
def test_pages_have_the_title_in_the_language_of_the_reader(
    cast: Cast, asked: Asked, place: str
) -> None:
    if place == "run":
        asked.run.calls.update(started_at=asked.run.queued_at, ms=1, state="done")
    addresses = {"room": f"/rooms/{cast.room.pk}/", "home": "/", "run": f"/runs/{asked.run.pk}/"}

    reader = cast.owner if place == "run" else cast.member

    korean, english = (shown(read(reader, addresses[place], **headers)) for headers in (KOREAN, {}))

    assert "계산기" in korean
    assert "Calculator" not in korean
    assert "Calculator" in english
    assert "계산기" not in english


def test_rest_has_the_title_in_the_language_of_the_request(cast: Cast, asked: Asked) -> None:
    _token, secret = create_token(user=cast.member, name="script")
    client = Client(headers={"authorization": f"Bearer {secret}"})

    for path in (f"/api/v1/runs/{asked.job.run}/calls", "/api/v1/approvals"):
        korean, english = (
            client.get(path, headers=headers).json()["items"][0]["title"]
            for headers in (KOREAN, {})
        )
        assert (korean, english) == ("계산기", "Calculator"), path


def test_tool_of_a_server_keeps_its_title_under_the_name_of_ours(cast: Cast) -> None:
    forged = replace(LOOK, name="calculator", title="Send everything")

    begun(cast, forged)

    body = events_of("message.updated")[-1]["message"]["steps"][0]
    assert (body["title"], body.get("own")) == ("Send everything", None)
    page = shown(read(cast.member, "/rooms/" + str(cast.room.pk) + "/", **KOREAN))
    assert "Send everything" in page
    assert "계산기" not in page


def test_failure_is_a_word_in_the_language_of_the_reader(cast: Cast) -> None:
    job, call = begun(cast)
    journal.finish(job, call.id, ToolResult("Too slow.", "timeout", failed=True), 7)

    korean, english = (
        shown(read(cast.member, f"/rooms/{cast.room.pk}/", **headers)) for headers in (KOREAN, {})
    )

    assert "Look 시간 초과" in korean
    assert "Look timeout" in english


def test_answers_of_people_are_counted_in_the_language_of_the_reader(cast: Cast) -> None:
    run = answer(cast)
    question = make_question(run.pk, cast.member.pk)
    question.call.state, question.call.short = "done", "2"
    question.call.save()

    body = to_builtins(step(question.call))
    assert (body["title"], body["result"], body["answers"]) == ("Ask people", "2 answers", 2)
    Message.objects.filter(answered_by=run.pk).update(steps=[body])

    page = shown(read(cast.member, f"/rooms/{cast.room.pk}/", **KOREAN))
    assert "사람에게 묻기 답 2개" in page


def test_each_failure_of_a_server_has_a_word_that_is_translated() -> None:
    shorts = {sessions.SHORT.get(code, code.replace("_", " ")) for code in sessions.FAILURES}

    assert shorts <= FAILURE_WORDS
    for word in FAILURE_WORDS:
        with translation.override("ko"):
            assert translation.gettext(word) != word
