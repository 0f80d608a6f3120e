"""The sentence of a failed answer is in the language of its reader."""

import json
import re
from typing import get_args

import pytest
from django.test import Client
from django.utils import translation

from accounts.services import create_token
from agents.engine_types import AnswerFailed, FailureCode, FailureReason
from agents.models import Persona
from rooms.models import RoomEvent, Run
from rooms.protocol.failures import SENTENCES, failure_sentence
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import answer

pytestmark = pytest.mark.django_db

KOREAN = {"Accept-Language": "ko"}


@pytest.fixture
def failed(cast: Cast) -> Run:
    """A run that failed with a reason and a name, asked in English."""
    failure = AnswerFailed("not_allowed", "persona_off", persona="Garam")
    return answer(cast, "so far", failure)


def test_event_has_the_reason_beside_the_sentence_of_the_asker(cast: Cast, failed: Run) -> None:
    event = json.loads(RoomEvent.objects.get(type="run.failed").payload)

    assert event["run"]["error"] == {
        "code": "not_allowed",
        "detail": "Garam is switched off. Ask a team admin to switch it on.",
        "reason": "persona_off",
        "persona": "Garam",
    }


def test_rest_words_the_sentence_in_the_language_of_the_request(cast: Cast, failed: Run) -> None:
    _token, secret = create_token(user=cast.reader, name="script")
    client = Client(headers={"authorization": f"Bearer {secret}"})
    path = f"/api/v1/runs/{failed.pk}"

    english, korean = (
        client.get(path, headers=headers).json()["error"]["detail"] for headers in ({}, KOREAN)
    )

    assert english.startswith("Garam is switched off")
    assert re.search("[가-힣]", korean)


def test_page_words_the_sentence_in_the_language_of_the_reader(cast: Cast, failed: Run) -> None:
    client = Client()
    client.force_login(cast.reader)

    page = client.get(f"/rooms/{cast.room.pk}/", headers=KOREAN).content.decode()

    with translation.override("ko"):
        sentence = failure_sentence("not_allowed", "persona_off", "Garam")
    (shown,) = re.findall(r"data-end>([^<]+)<", page.partition("<template")[0])
    assert shown == sentence
    assert "switched off" not in page.partition("<template")[0].partition('id="room-data"')[0]


def test_sentence_outlives_the_persona(cast: Cast, failed: Run) -> None:
    Persona.objects.filter(pk=cast.persona.pk).update(name="Renamed")

    failed.refresh_from_db()

    assert failed.error_persona == "Garam"


def test_each_code_and_reason_has_a_sentence_in_each_language() -> None:
    assert {*get_args(FailureCode), *get_args(FailureReason)} <= SENTENCES.keys()
    for key, sentence in SENTENCES.items():
        with translation.override("ko"):
            assert re.search("[가-힣]", str(sentence)), key


def test_unknown_reason_is_worded_by_its_code() -> None:
    assert failure_sentence("timeout", "of a later version") == failure_sentence("timeout")
