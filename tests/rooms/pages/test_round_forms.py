"""The buttons of a round, for a browser without scripts."""

import pytest
from django.urls import reverse

from agents.services import create_demo_persona
from rooms import services
from rooms.models import RoomMode
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser
from tests.rooms.runs.crews.turns import begin

pytestmark = pytest.mark.django_db


def test_round_is_cancelled_once_and_a_running_one_skips_no_step(cast: Cast) -> None:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)
    services.update_room(user=cast.owner, room_id=cast.room.pk, mode=RoomMode.ROUND)
    round_ = begin(cast)
    page = reverse("rooms:message", args=[cast.room.pk, round_.message_id])

    def post(name: str) -> tuple[str, str]:
        answer = browser(cast.owner).post(reverse(f"rooms:{name}", args=[round_.pk]))
        round_.refresh_from_db()
        return answer["Location"], round_.state

    assert post("skip_step") == (page, "running")
    assert post("cancel_round") == (page, "cancelled")
