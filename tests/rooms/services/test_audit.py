"""Audit entries of rooms, which admins of the team read who are not in the rooms."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry, TeamRole, User
from accounts.services import accept_invitation, remove_team_member, suspend_team_member
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona
from rooms import services
from rooms.models import Privacy
from tests.accounts.audit.streams import read_stream
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import browser

pytestmark = pytest.mark.django_db

PRIVATE, OPEN = Privacy.PRIVATE, Privacy.TEAM


def admin(cast: Cast) -> User:
    user = make_user("Admin")
    add_team_member(cast.team, user, TeamRole.ADMIN)
    return user


def displayed_log(cast: Cast) -> str:
    """Return the audit log as shown by the page, the REST API and both exports."""
    client = browser(admin(cast))
    page = client.get(reverse("accounts:audit", args=[cast.team.pk]))
    listed = client.get(f"/api/v1/teams/{cast.team.pk}/audit")
    export = reverse("accounts:audit_export", args=[cast.team.pk])
    files = [client.post(export, {"format": kind}) for kind in ("csv", "json")]
    assert all(answer.status_code == 200 for answer in (page, listed, *files))
    texts = [answer.content.decode() for answer in (page, listed)]
    return "".join([*texts, *map(read_stream, files)])


def run_through_lifecycle(cast: Cast, privacy: str) -> None:
    """Create, change, archive and delete a room."""
    owner = cast.member
    room = services.create_room(
        user=owner, team_id=cast.team.pk, name="CANARY one", topic="CANARY two", privacy=privacy
    )
    services.update_room(
        user=owner, room_id=room.pk, name="CANARY three", topic="CANARY four", archived=True
    )
    services.delete_room(user=owner, room_id=room.pk)


def test_log_hides_name_and_topic_of_a_private_room(cast: Cast) -> None:
    run_through_lifecycle(cast, PRIVATE)

    assert "CANARY" not in displayed_log(cast)
    changed = AuditEntry.objects.get(action="room.changed")
    assert (changed.before, changed.after) == ({}, {"fields": ["name", "topic"]})


def test_log_has_name_and_topic_of_an_open_room(cast: Cast) -> None:
    run_through_lifecycle(cast, OPEN)

    created, changed, deleted = (
        AuditEntry.objects.filter(action=f"room.{what}").latest("number")
        for what in ("created", "changed", "deleted")
    )
    assert created.after["name"] == changed.before["name"] == "CANARY one"
    assert changed.after["topic"] == "CANARY four"
    assert deleted.before == {"name": "CANARY three"}


@pytest.mark.parametrize(
    ("old_privacy", "new_privacy", "logged"),
    [(PRIVATE, OPEN, "CANARY new"), (OPEN, PRIVATE, "CANARY old")],
)
def test_log_has_only_the_name_that_the_team_could_see(
    cast: Cast, old_privacy: str, new_privacy: str, logged: str
) -> None:
    room = services.create_room(
        user=cast.member, team_id=cast.team.pk, name="CANARY old", privacy=old_privacy
    )
    services.update_room(user=cast.member, room_id=room.pk, name="CANARY new", privacy=new_privacy)

    changed = AuditEntry.objects.get(action="room.changed")
    assert [f.get("name") for f in (changed.before, changed.after)].count(None) == 1
    assert logged in f"{changed.before}{changed.after}"


def test_refused_requests_in_rooms_are_logged(cast: Cast) -> None:
    posted = services.post_message(user=cast.owner, room_id=cast.room.pk, text="x", personas=[])
    opened = services.create_room(user=cast.owner, team_id=cast.team.pk, name="o", privacy=OPEN)
    kept = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    services.confine_persona(user=cast.owner, persona_id=kept.pk, room_ids=[opened.pk])
    api, client, owners = "/api/v1", browser(cast.member), browser(cast.owner)
    known = set(AuditEntry.objects.values_list("pk", flat=True))

    answers = [
        client.patch(f"{api}/messages/{posted.message.pk}", {"text": "y"}, "application/json"),
        client.put(
            f"{api}/rooms/{opened.pk}/members/{cast.member.pk}",
            {"role": "owner"},
            "application/json",
        ),
        owners.put(f"{api}/rooms/{cast.room.pk}/personas/{kept.pk}"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 3
    entries = AuditEntry.objects.filter(team=cast.team, refused=True).exclude(pk__in=known)
    assert [entry.actor for entry in entries] == [cast.owner, cast.member, cast.member]


@pytest.mark.parametrize("leave", [remove_team_member, suspend_team_member])
def test_log_has_the_new_owner_of_a_room_whose_owner_has_left(
    cast: Cast, leave: Callable[..., object]
) -> None:
    room = services.create_room(
        user=cast.member, team_id=cast.team.pk, name="theirs", people=[cast.reader.pk]
    )

    leave(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    entry = AuditEntry.objects.get(action="room.inherited")
    assert (entry.actor, entry.target_id) == (None, room.pk)
    assert entry.after == {"owner": str(cast.reader.pk)}


def test_log_has_the_rooms_that_an_invitation_led_into(cast: Cast) -> None:
    _invitation, token = services.invite_into_rooms(
        user=cast.owner, team_id=cast.team.pk, room_ids=[cast.room.pk]
    )

    accept_invitation(user=cast.nobody, token=token)

    entry = AuditEntry.objects.filter(action="room.member_added").latest("number")
    assert (entry.actor, entry.target_id) == (cast.nobody, cast.room.pk)
    assert entry.after == {"user": str(cast.nobody.pk), "role": "member"}


def test_grants_are_deleted_before_the_audit_log_is_locked(cast: Cast) -> None:
    """A transaction that grants rights locks them first and the log last; else both deadlock."""
    services.create_room(
        user=cast.member, team_id=cast.team.pk, name="theirs", people=[cast.reader.pk]
    )
    with CaptureQueriesContext(connection) as captured:
        remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    statements = [query["sql"] for query in captured]
    rights = [n for n, sql in enumerate(statements) if 'DELETE FROM "agents_personagrant"' in sql]
    log = [n for n, sql in enumerate(statements) if "accounts_auditentry" in sql]
    assert len(log) == 4
    assert rights
    assert max(rights) < min(log)
