"""The pages of all apps show an error of a service in the same way."""

from uuid import uuid4

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from accounts.models import AuditEntry
from agents.services import create_demo_persona
from rooms import services
from rooms.models import Privacy
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("route", ["accounts:remove", "rooms:leave", "agents:connection_delete"])
def test_error_of_a_service_is_shown_on_the_next_page(cast: Cast, route: str) -> None:
    ids: dict[str, list[object]] = {
        "accounts:remove": [cast.team.pk, cast.owner.pk],
        "rooms:leave": [cast.room.pk],
        "agents:connection_delete": [cast.team.pk, cast.persona.connection_id],
    }

    answer = browser(cast.owner).post(reverse(route, args=ids[route]))

    assert answer.status_code == 302
    (message,) = get_messages(answer.wsgi_request)
    assert message.level_tag == "error"


def test_forbidden_action_is_shown_and_audited(cast: Cast) -> None:
    opened = services.create_room(
        user=cast.owner, team_id=cast.team.pk, name="o", privacy=Privacy.TEAM
    )
    kept = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    services.confine_persona(user=cast.owner, persona_id=kept.pk, room_ids=[opened.pk])
    path = reverse("rooms:add_persona", args=[cast.room.pk])

    answer = browser(cast.owner).post(path, {"persona": kept.pk})

    assert answer.status_code == 302
    assert [message.level_tag for message in get_messages(answer.wsgi_request)] == ["error"]
    entry = AuditEntry.objects.filter(team=cast.team).latest("number")
    assert (entry.refused, entry.target_id) == (True, cast.room.pk)


@pytest.mark.parametrize(
    "route", ["accounts:suspend", "rooms:remove_person", "agents:persona_restore"]
)
def test_missing_object_answers_with_the_404_page(cast: Cast, route: str) -> None:
    ids: dict[str, list[object]] = {
        "accounts:suspend": [cast.team.pk, uuid4()],
        "rooms:remove_person": [cast.room.pk, uuid4()],
        "agents:persona_restore": [cast.team.pk, cast.persona.pk, 999],
    }

    answer = browser(cast.owner).post(reverse(route, args=ids[route]))

    assert answer.status_code == 404
