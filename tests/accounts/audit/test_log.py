"""The audit log: one entry for each change and refusal, in a chain that reveals tampering."""

import json
import random
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from accounts.audit.log import audit, client_address, compute_hash, verify_chains
from accounts.errors import Forbidden
from accounts.models import AuditEntry, Team
from accounts.services import (
    create_team,
    create_token,
    remove_team_member,
    rename_team,
    suspend_team_member,
)
from tests.accounts.conftest import PASSWORD, Cast

pytestmark = pytest.mark.django_db

CHANGES = 30


def last(team: Team | None) -> AuditEntry:
    return AuditEntry.objects.filter(team=team).order_by("-number")[0]


def browser(cast: Cast, name: str) -> Client:
    client = Client(REMOTE_ADDR="203.0.113.9")
    client.force_login(cast.named(name))
    return client


def broken(team: Team) -> int | None:
    return next(chain.broken_at for chain in verify_chains() if chain.team_id == team.pk)


def test_entry_has_actor_target_values_and_ip(cast: Cast) -> None:
    browser(cast, "owner").post(
        reverse("accounts:team", args=[cast.team.pk]), {"name": "Another name"}
    )

    entry = last(cast.team)
    assert (entry.actor, entry.action, entry.ip) == (cast.owner, "team.changed", "203.0.113.9")
    assert (entry.target_kind, entry.target_id) == ("team", cast.team.pk)
    assert (entry.before, entry.after) == ({"name": "Hangyeol Commerce"}, {"name": "Another name"})
    assert client_address.get() == ""


def test_rolled_back_change_leaves_no_entry(cast: Cast) -> None:
    before = AuditEntry.objects.count()

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        rename_team(user=cast.owner, team_id=cast.team.pk, name="Undone")
        raise ZeroDivisionError

    assert AuditEntry.objects.count() == before


def test_entry_costs_two_queries(
    cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(2):
        audit(cast.owner, "team.changed", cast.team.pk, team_id=cast.team.pk)


def test_entry_has_the_hint_of_the_token(client: Client, cast: Cast) -> None:
    _token, secret = create_token(user=cast.owner, name="script", scopes=["admin"])

    client.post(
        "/api/v1/me/tokens",
        {"name": "second", "scopes": ["read"]},
        content_type="application/json",
        headers={"authorization": f"Bearer {secret}"},
    )

    assert last(None).token_hint == secret[-4:]
    assert secret not in json.dumps(list(AuditEntry.objects.values()), default=str)


@pytest.mark.parametrize("way", ["page", "api"])
def test_refused_attempt_of_a_member_is_in_the_log_of_the_team(cast: Cast, way: str) -> None:
    path = (
        reverse("rooms:invite_people", args=[cast.team.pk])
        if way == "page"
        else f"/api/v1/teams/{cast.team.pk}/rooms"
    )
    answer = browser(cast, "guest").post(path, {"role": "member"}, "application/json")

    entry = last(cast.team)
    assert answer.status_code == 403
    assert (entry.actor, entry.refused, entry.target_id) == (cast.guest, True, cast.team.pk)
    assert entry.action.startswith("POST /")


@pytest.mark.parametrize("way", ["page", "api"])
def test_refusal_has_the_target_and_its_team(cast: Cast, way: str) -> None:
    guest, ids = browser(cast, "guest"), [cast.team.pk, cast.member.pk]

    if way == "page":
        guest.post(reverse("accounts:suspend", args=ids))
    else:
        guest.delete("/api/v1/teams/{}/members/{}".format(*ids))

    entry = last(cast.team)
    kind = "user" if way == "page" else "member"
    assert (entry.refused, entry.target_kind, entry.target_id) == (True, kind, cast.member.pk)
    assert entry.before == {"team": str(cast.team.pk)}


@pytest.mark.parametrize("way", ["page", "api"])
def test_attempt_to_become_owner_is_in_the_log_of_the_team(cast: Cast, way: str) -> None:
    client = browser(cast, "admin")
    if way == "page":
        path = reverse("accounts:suspend", args=[cast.team.pk, cast.owner.pk])
        client.post(path)
    else:
        path = f"/api/v1/teams/{cast.team.pk}/members/{cast.admin.pk}"
        client.patch(path, {"role": "owner"}, "application/json")

    entry = last(cast.team)
    assert (entry.actor, entry.refused) == (cast.admin, True)


@pytest.mark.parametrize("page", ["rooms:invite_people", "accounts:audit_export"])
def test_foreign_and_missing_targets_write_the_same_entry(cast: Cast, page: str) -> None:
    stranger = browser(cast, "stranger")
    counts = []
    for team_id in (cast.team.pk, uuid4()):
        before = AuditEntry.objects.count()
        stranger.post(reverse(page, args=[team_id]))
        counts.append(AuditEntry.objects.count() - before)
        entry = last(None)
        assert (entry.refused, entry.target_id, entry.team) == (True, team_id, None)

    assert counts == [1, 1]


def test_refused_read_leaves_no_entry(cast: Cast) -> None:
    before = AuditEntry.objects.count()

    browser(cast, "stranger").get(reverse("accounts:team", args=[cast.team.pk]))

    assert AuditEntry.objects.count() == before


def test_secret_in_a_url_is_not_in_the_entry(cast: Cast) -> None:
    secret = "CANARY-of-a-link"

    browser(cast, "member").post(f"/setup/{secret}")
    browser(cast, "member").post(reverse("accounts:invitation_link", args=[secret]))

    assert secret not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_failed_sign_in_is_audited_without_the_password(client: Client, cast: Cast) -> None:
    client.post("/accounts/login/", {"login": cast.member.email, "password": "CANARY-guess"})

    entry = last(None)
    assert (entry.action, entry.refused, entry.actor) == ("user.signed_in", True, None)
    assert "CANARY" not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_sign_in_and_sign_out_are_audited(client: Client, cast: Cast) -> None:
    client.post("/accounts/login/", {"login": cast.member.email, "password": PASSWORD})
    client.post("/accounts/logout/")

    out, into = AuditEntry.objects.filter(team=None).order_by("-number")[:2]
    assert (into.action, out.action) == ("user.signed_in", "user.signed_out")
    assert into.actor == out.actor == cast.member


@pytest.fixture
def long_log(cast: Cast) -> list[AuditEntry]:
    for number in range(CHANGES):
        rename_team(user=cast.owner, team_id=cast.team.pk, name=f"Name {number}")
    assert broken(cast.team) is None
    return list(AuditEntry.objects.filter(team=cast.team).order_by("number"))


TAMPERS: dict[str, Callable[[AuditEntry], object]] = {
    "actor_id": lambda entry: uuid4(),
    "action": lambda entry: entry.action + "x",
    "after": lambda entry: {**entry.after, "name": "Forged"},
    "before": lambda entry: {"name": "Forged"},
    "created_at": lambda entry: entry.created_at.replace(year=2001),
    "ip": lambda entry: "198.51.100.1",
    "refused": lambda entry: not entry.refused,
    "target_id": lambda entry: uuid4(),
    "target_kind": lambda entry: "other",
    "token_hint": lambda entry: "abcd",
    "hash": lambda entry: "0" * 64,
    "prev_hash": lambda entry: "0" * 64 if entry.number > 1 else "1" * 64,
}


def overwrite(entry: AuditEntry, **values: object) -> None:
    """Change an entry in the database with its triggers disabled."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER accounts_audit_rows")
    AuditEntry.objects.filter(pk=entry.pk).update(**values)


@pytest.mark.parametrize("seed", range(6))
def test_chain_reveals_each_changed_and_each_missing_entry(
    cast: Cast, long_log: list[AuditEntry], seed: int
) -> None:
    generator = random.Random(seed)
    tampered = 0
    for _ in range(40):
        entry = generator.choice(long_log[2:-1])
        with transaction.atomic():
            name = generator.choice([*TAMPERS, "deleted", "rehashed"])
            if name == "deleted":
                AuditEntry.objects.filter(pk=entry.pk).delete()
            elif name == "rehashed":
                entry.after = {"name": "Forged"}
                overwrite(entry, after=entry.after, hash=compute_hash(entry))
            else:
                overwrite(entry, **{name: TAMPERS[name](entry)})
            tampered += broken(cast.team) in {entry.number, entry.number + 1}
            transaction.set_rollback(True)
        entry.refresh_from_db()

    assert tampered == 40
    assert broken(cast.team) is None


def test_database_rejects_a_change_of_an_entry(cast: Cast, long_log: list[AuditEntry]) -> None:
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        AuditEntry.objects.filter(pk=long_log[3].pk).update(action="nothing")


def test_command_reports_the_broken_chain(
    cast: Cast, long_log: list[AuditEntry], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("audit", "verify")
    whole = capsys.readouterr().out
    overwrite(long_log[3], action="nothing")
    with pytest.raises(CommandError):
        call_command("audit", "verify")

    assert f"{cast.team.pk} {long_log[-1].number} {long_log[-1].hash}\n" in whole
    assert f"BROKEN at {long_log[3].number}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("actor", "status"),
    [("owner", 200), ("admin", 200), ("member", 403), ("guest", 403)],
)
def test_log_is_accessible_to_owners_and_admins_only(cast: Cast, actor: str, status: int) -> None:
    client = browser(cast, actor)

    assert client.get(reverse("accounts:audit", args=[cast.team.pk])).status_code == status
    assert client.post(reverse("accounts:audit_export", args=[cast.team.pk])).status_code == status
    assert client.get(f"/api/v1/teams/{cast.team.pk}/audit").status_code == status


def test_page_shows_the_entries_that_match_its_filters(
    cast: Cast, long_log: list[AuditEntry]
) -> None:
    client = browser(cast, "admin")
    page = reverse("accounts:audit", args=[cast.team.pk])

    def shown(**query: str) -> list[int]:
        return [entry.number for entry in client.get(page, query).context["entries"]]

    everything = [entry.number for entry in reversed(long_log)]
    assert shown() == everything
    assert shown(actor=str(cast.owner.pk)) == everything
    assert shown(actor=str(cast.admin.pk)) == []
    assert shown(action="room.") == []
    assert shown(since="2001-01-01") == everything
    assert shown(until="2001-01-01") == []
    assert shown(since="9999-12-31T23:59:59-01:00") == everything
    assert shown(before="4") == [3, 2, 1]
    assert shown(actor="nonsense", since="nonsense", before="-1") == everything


def test_page_shows_names_of_current_members(cast: Cast) -> None:
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.guest.pk)
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)
    audit(cast.owner, "room.created", uuid4(), team_id=cast.team.pk, after={"people": []})

    page = browser(cast, "owner").get(reverse("accounts:audit", args=[cast.team.pk]))

    text = page.content.decode()
    table = text[text.index("<tbody>") : text.index("</tbody>")]
    assert f"<bdi>{cast.member.name}</bdi>" in table
    assert f"<bdi>{cast.guest.pk}</bdi>" in table
    assert "<bdi>none</bdi>" in table


def test_api_returns_the_log_page_by_page(cast: Cast, long_log: list[AuditEntry]) -> None:
    client = browser(cast, "owner")
    numbers: list[int] = []
    cursor = None
    while cursor != "":
        query = {"limit": "10", **({"cursor": cursor} if cursor else {})}
        page = client.get(f"/api/v1/teams/{cast.team.pk}/audit", query).json()
        numbers += [item["number"] for item in page["items"]]
        cursor = page["next"] or ""

    assert sorted(numbers, reverse=True) == [entry.number for entry in reversed(long_log)]


def test_log_has_no_entries_of_another_team(cast: Cast) -> None:
    other = create_team(user=cast.stranger, name="CANARY of another team")

    page = browser(cast, "owner").get(reverse("accounts:audit", args=[cast.team.pk]))

    assert "CANARY" not in page.content.decode()
    assert last(other).number == 1


def test_refusal_for_a_missing_scope_has_the_token_hint(client: Client, cast: Cast) -> None:
    _token, secret = create_token(user=cast.owner, name="script", scopes=["read"], team=cast.team)

    answer = client.post(
        f"/api/v1/teams/{cast.team.pk}/rooms", headers={"authorization": f"Bearer {secret}"}
    )

    assert answer.status_code == Forbidden.status
    assert last(cast.team).refused
    assert last(cast.team).token_hint == secret[-4:]
    assert last(cast.team).target_id == cast.team.pk
