"""What people do by pages is counted as what programs do by the API."""

from http import HTTPStatus

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import rate_limits
from accounts.models import AuditEntry, Invitation
from accounts.rate_limits import LIMITS, MemoryCounters, RateLimit
from tests.security.principals import Tenant, make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _counters(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RATE_LIMITS = True
    mine = MemoryCounters()
    monkeypatch.setattr(rate_limits, "get_counters", lambda: mine)


@pytest.fixture
def side() -> Tenant:
    return make_tenant("Own")


@pytest.fixture
def owner(side: Tenant) -> Client:
    client = Client()
    client.force_login(side.owner)
    return client


def test_refused_forms_come_to_an_end(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one leaves a row that nobody may delete."""
    monkeypatch.setattr(
        rate_limits, "LIMITS", {**LIMITS, (rate_limits.CALL, rate_limits.USER): RateLimit(5, 60)}
    )
    before = AuditEntry.objects.count()
    nothing = reverse("rooms:delete", args=["00000000-0000-7000-8000-000000000000"])

    answers = [owner.post(nothing) for _ in range(8)]

    assert [answer.status_code for answer in answers] == [404] * 5 + [429] * 3
    assert int(answers[-1]["Retry-After"]) >= 1
    assert AuditEntry.objects.count() == before + 5
    assert owner.get("/").status_code == HTTPStatus.OK


@pytest.mark.parametrize("way", ["team", "room", "rest"])
def test_invitations_come_to_an_end_whichever_way_they_go(
    side: Tenant, owner: Client, way: str
) -> None:
    made = Invitation.objects.count()
    most = LIMITS[rate_limits.INVITE, rate_limits.USER].max_count
    ids = {"team": side.team.pk, "room": side.room.pk}

    for number in range(most + 2):
        address = {"email": f"somebody{number}@example.net"}
        match way:
            case "team":
                form = {"role": "guest", "days": "7", "max_uses": "1", **address}
                answer = owner.post(reverse("accounts:invite", args=[ids["team"]]), form)
            case "room":
                answer = owner.post(reverse("rooms:invite", args=[ids["room"]]), address)
            case _:
                answer = owner.post(
                    f"/api/v1/teams/{ids['team']}/invitations",
                    {"role": "guest"},
                    content_type="application/json",
                )

    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert Invitation.objects.count() == made + most - 1  # the side has made one itself
