"""The admin site: staff with two-step sign-in, no secrets, no sign-in page of its own."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from accounts.admin import site
from accounts.hooks import AccessRevoked
from accounts.models import AuditEntry, Team, User
from accounts.services import create_token, invite
from rooms.models import TeamQuota, Worker
from tests.accounts.conftest import PASSWORD, Cast
from tests.accounts.login.totp import enable_totp
from tests.accounts.revocations import record_revocations

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(cast: Cast) -> Client:
    cast.owner.is_staff = cast.owner.is_superuser = True
    cast.owner.save()
    enable_totp(cast.owner)
    client = Client()
    client.force_login(cast.owner)
    return client


def test_site_has_exactly_the_registered_models(client: Client) -> None:
    client.get("/admin/")  # resolving a URL registers all models

    assert set(site._registry) == {User, Team, AuditEntry, TeamQuota, Worker}


def test_site_has_no_sign_in_page(client: Client, cast: Cast) -> None:
    """A password attempt is redirected to the rate-limited page."""
    answer = client.post(
        "/admin/login/?next=/admin/", {"username": cast.owner.email, "password": PASSWORD}
    )

    assert urlsplit(answer["Location"]).path == "/accounts/login/"
    assert parse_qs(urlsplit(answer["Location"]).query) == {"next": ["/admin/"]}
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/admin/logout/", "/accounts/logout/"),
        ("/admin/password_change/", "/accounts/password/change/"),
    ],
)
def test_site_has_no_sign_out_page(staff: Client, path: str, page: str) -> None:
    fields = {"old_password": PASSWORD, "new_password1": "x", "new_password2": "x"}

    assert staff.post(path, fields)["Location"] == page


@pytest.mark.parametrize("who", ["owner", "member"])
def test_site_is_closed_to_users_who_are_not_staff(client: Client, cast: Cast, who: str) -> None:
    client.force_login(cast.named(who))

    assert client.get("/admin/", follow=True).status_code == 403


def test_no_page_contains_a_secret(staff: Client, cast: Cast) -> None:
    token, secret = create_token(user=cast.member, name="script")
    invitation, link = invite(user=cast.owner, team_id=cast.team.pk)
    cast.member.refresh_from_db()

    for path in (
        "/admin/",
        "/admin/accounts/user/",
        f"/admin/accounts/user/{cast.member.pk}/change/",
        "/admin/accounts/team/",
        f"/admin/accounts/team/{cast.team.pk}/change/",
        "/admin/accounts/auditentry/",
        f"/admin/accounts/auditentry/{AuditEntry.objects.latest('number').pk}/change/",
    ):
        answer = staff.get(path)
        page = answer.content.decode()
        assert answer.status_code == 200
        for hidden in (secret, token.digest, link, invitation.digest, cast.member.password):
            assert hidden not in page


def test_suspension_notifies_listeners(
    staff: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = record_revocations(monkeypatch)

    staff.post(f"/admin/accounts/user/{cast.member.pk}/change/", {"is_staff": ""})

    cast.member.refresh_from_db()
    assert not cast.member.is_active
    assert revoked == [AccessRevoked(user_id=cast.member.pk)]
    assert [entry.action for entry in written(cast.owner)] == ["user.suspended"]


def written(staff: User) -> list[AuditEntry]:
    """Return the entries of the site in the audit log of the installation."""
    entries = AuditEntry.objects.filter(team=None, actor=staff, refused=False)
    return list(entries.exclude(action="user.created").order_by("number"))


def test_changes_of_staff_and_active_are_audited(staff: Client, cast: Cast) -> None:
    path = f"/admin/accounts/user/{cast.suspended.pk}/change/"

    staff.post(path, {"is_active": "on", "is_superuser": "on"})
    staff.post(path, {"is_active": "on", "is_superuser": "on"})
    staff.post(path, {"is_active": "on", "is_staff": "on"})

    restored, promoted, demoted = written(cast.owner)
    assert restored.action == "user.restored"
    assert promoted.action == demoted.action == "user.changed"
    assert {each.target_id for each in (restored, promoted, demoted)} == {cast.suspended.pk}
    assert (promoted.before, promoted.after) == ({"is_superuser": False}, {"is_superuser": True})
    assert (demoted.before["is_staff"], demoted.after["is_superuser"]) == (False, False)


def test_changes_of_a_team_quota_are_audited(staff: Client, cast: Cast) -> None:
    team = str(cast.team.pk)
    staff.post("/admin/rooms/teamquota/add/", {"team": team, "runs_per_team": "3"})
    staff.post(f"/admin/rooms/teamquota/{team}/change/", {"team": team, "runs_per_team": "30"})

    created, changed = written(cast.owner)
    assert created.action == changed.action == "quota.changed"
    assert created.target_id == changed.target_id == cast.team.pk
    assert (created.before, created.after) == ({"runs_per_team": None}, {"runs_per_team": 3})
    assert (changed.before, changed.after) == ({"runs_per_team": 3}, {"runs_per_team": 30})


def test_site_creates_and_deletes_nothing(staff: Client, cast: Cast) -> None:
    for path in (
        "/admin/accounts/user/add/",
        "/admin/accounts/team/add/",
        f"/admin/accounts/user/{cast.member.pk}/delete/",
        f"/admin/accounts/team/{cast.team.pk}/delete/",
    ):
        assert staff.post(path, {"post": "yes"}).status_code == 403


def test_staff_cannot_make_themselves_superusers(cast: Cast) -> None:
    from django.contrib.auth.models import Permission

    cast.owner.is_staff = True
    cast.owner.save()
    cast.owner.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    enable_totp(cast.owner)
    client = Client()
    client.force_login(cast.owner)

    client.post(
        f"/admin/accounts/user/{cast.owner.pk}/change/", {"is_active": "on", "is_superuser": "on"}
    )

    cast.owner.refresh_from_db()
    assert not cast.owner.is_superuser
