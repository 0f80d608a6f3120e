"""What a team's audit tells of its rooms, to admins who are not in them."""

import pytest
from django.urls import reverse

from accounts.models import AuditEntry, TeamRole, User
from accounts.services.teams import put_member
from rooms import services
from rooms.models import Privacy
from tests.rooms.browsing import browser
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db

PRIVATE, OPEN = Privacy.PRIVATE, Privacy.TEAM


def admin(cast: Cast) -> User:
    user = make_user("Admin")
    put_member(cast.team, user, TeamRole.ADMIN)
    return user


def log_as_told(cast: Cast) -> str:
    """All that the page, the interface and both exports tell."""
    client = browser(admin(cast))
    page = client.get(reverse("accounts:audit", args=[cast.team.pk]))
    listed = client.get(f"/api/v1/teams/{cast.team.pk}/audit")
    export = reverse("accounts:audit_export", args=[cast.team.pk])
    files = [client.post(export, {"format": kind}) for kind in ("csv", "json")]
    answers = [page, listed, *files]
    assert all(answer.status_code == 200 for answer in answers)
    return "".join(answer.content.decode() for answer in answers)


def live_through(cast: Cast, privacy: str) -> None:
    """A room from its making to its end."""
    owner = cast.member
    room = services.create_room(
        user=owner, team_id=cast.team.pk, name="CANARY one", topic="CANARY two", privacy=privacy
    )
    services.update_room(
        user=owner, room_id=room.pk, name="CANARY three", topic="CANARY four", archived=True
    )
    services.delete_room(user=owner, room_id=room.pk)


def test_log_tells_no_word_of_a_private_room(cast: Cast) -> None:
    live_through(cast, PRIVATE)

    assert "CANARY" not in log_as_told(cast)
    changed = AuditEntry.objects.get(action="room.changed")
    assert (changed.before, changed.after) == ({}, {"fields": ["name", "topic"]})


def test_log_tells_what_an_open_room_was_called(cast: Cast) -> None:
    live_through(cast, OPEN)

    created, changed, deleted = (
        AuditEntry.objects.filter(action=f"room.{what}").latest("number")
        for what in ("created", "changed", "deleted")
    )
    assert created.after["name"] == changed.before["name"] == "CANARY one"
    assert changed.after["topic"] == "CANARY four"
    assert deleted.before == {"name": "CANARY three"}


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [(PRIVATE, OPEN, "CANARY new"), (OPEN, PRIVATE, "CANARY old")],
)
def test_log_tells_the_name_that_the_team_could_see(
    cast: Cast, then: str, now: str, told: str
) -> None:
    room = services.create_room(
        user=cast.member, team_id=cast.team.pk, name="CANARY old", privacy=then
    )
    services.update_room(user=cast.member, room_id=room.pk, name="CANARY new", privacy=now)

    changed = AuditEntry.objects.get(action="room.changed")
    assert [f.get("name") for f in (changed.before, changed.after)].count(None) == 1
    assert told in f"{changed.before}{changed.after}"
