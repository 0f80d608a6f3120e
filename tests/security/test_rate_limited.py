"""Pages and REST share their rate limits."""

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
    counters = MemoryCounters(lambda: 0.0)  # frozen: no window ends during a test
    monkeypatch.setattr(rate_limits, "get_counters", lambda: counters)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("Own")


@pytest.fixture
def owner(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(tenant.owner)
    return client


def test_refused_forms_are_rate_limited(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refused form writes an audit entry, which can never be deleted."""
    monkeypatch.setattr(
        rate_limits, "LIMITS", {**LIMITS, (rate_limits.CALL, rate_limits.USER): RateLimit(5, 60)}
    )
    before = AuditEntry.objects.count()
    absent_room = reverse("rooms:delete", args=["00000000-0000-7000-8000-000000000000"])

    answers = [owner.post(absent_room) for _ in range(8)]

    assert [answer.status_code for answer in answers] == [404] * 5 + [429] * 3
    assert int(answers[-1]["Retry-After"]) >= 1
    assert AuditEntry.objects.count() == before + 5
    assert owner.get("/").status_code == HTTPStatus.OK


@pytest.mark.parametrize("way", ["team", "room", "rest"])
def test_invitations_are_rate_limited_on_each_route(
    tenant: Tenant, owner: Client, way: str
) -> None:
    invitations_before = Invitation.objects.count()
    created_by_fixture = 1
    limit = LIMITS[rate_limits.INVITE, rate_limits.USER].max_count
    ids = {"team": tenant.team.pk, "room": tenant.room.pk}

    for number in range(limit + 2):
        address = {"email": f"user{number}@example.net"}
        match way:
            case "team":
                form = {"role": "guest", "days": "7", "max_uses": "1", **address}
                answer = owner.post(reverse("rooms:invite_people", args=[ids["team"]]), form)
            case "room":
                answer = owner.post(reverse("rooms:invite", args=[ids["room"]]), address)
            case _:
                answer = owner.post(
                    f"/api/v1/teams/{ids['team']}/invitations",
                    {"role": "guest"},
                    content_type="application/json",
                )

    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert Invitation.objects.count() == invitations_before + limit - created_by_fixture
