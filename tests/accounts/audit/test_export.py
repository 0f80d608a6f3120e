"""The audit as a file: in pieces, whole, and without formulas."""

import csv
import io
import json
import tracemalloc
from collections.abc import Callable
from math import ceil
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.audit import export
from accounts.models import AuditEntry
from accounts.services import rename_team
from tests.accounts.audit.fetching import file_of
from tests.accounts.conftest import Cast

pytestmark = pytest.mark.django_db

MANY = 3_000
ENDINGS = pytest.mark.parametrize("ending", ["csv", "json"])


@pytest.fixture
def fetch(cast: Cast) -> Callable[[str], Any]:
    """Ask for the file as the owner of the team."""
    client = Client()
    client.force_login(cast.owner)
    path = reverse("accounts:audit_export", args=[cast.team.pk])
    return lambda ending: client.post(path, {"format": ending})


def fill(cast: Cast, count: int) -> None:
    """Make the log of the team longer. Who may add to it, its chain does not hold up here."""
    end = AuditEntry.objects.filter(team=cast.team).count()
    AuditEntry.objects.bulk_create(
        AuditEntry(
            team=cast.team,
            number=end + n,
            actor=cast.owner,
            action="room.changed",
            target_kind="room",
            target_id=cast.team.pk,
            after={"topic": f"{n} {'x' * 200}"},
            hash="0" * 64,
        )
        for n in range(1, count + 1)
    )


def numbers(text: str, ending: str) -> list[int]:
    rows = csv.DictReader(io.StringIO(text)) if ending == "csv" else json.loads(text)
    return [int(row["number"]) for row in rows]


def test_export_is_written_down_and_holds_no_formula(
    cast: Cast, fetch: Callable[[str], Any]
) -> None:
    rename_team(user=cast.owner, team_id=cast.team.pk, name="=cmd()")
    cast.owner.name = "=HYPERLINK(1)"
    cast.owner.save()

    answer = fetch("csv")
    rows = list(csv.DictReader(io.StringIO(file_of(answer))))
    items = json.loads(file_of(fetch("json")))

    assert answer["Content-Disposition"].startswith("attachment")
    assert rows[0]["actor_name"] == "'=HYPERLINK(1)"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert [item["action"] for item in items][:2] == ["audit.exported", "team.changed"]
    assert items[1]["after"] == {"name": "=cmd()"}


@ENDINGS
def test_file_of_nothing_is_a_file(cast: Cast, ending: str) -> None:
    client = Client()
    client.force_login(cast.owner)
    path = reverse("accounts:audit_export", args=[cast.team.pk])

    answer = client.post(path, {"format": ending, "since": "9999-12-31"})

    assert numbers(file_of(answer), ending) == []


@ENDINGS
def test_export_says_in_its_name_that_it_is_not_whole(
    cast: Cast, fetch: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    for name in ("One", "Two", "Three"):
        rename_team(user=cast.owner, team_id=cast.team.pk, name=name)
    whole = fetch(ending)
    monkeypatch.setattr(export, "MAX_ENTRIES", 2)
    monkeypatch.setattr(export, "CHUNK_ENTRIES", 1)

    cut = fetch(ending)

    last = AuditEntry.objects.filter(team=cast.team).latest("number")
    assert f'filename="maru-audit.{ending}"' in whole["Content-Disposition"]
    assert f'filename="maru-audit-newest-2.{ending}"' in cut["Content-Disposition"]
    assert last.after == {"format": ending, "whole": False}
    assert numbers(file_of(cut), ending) == [last.number - 1, last.number - 2]


@ENDINGS
def test_file_has_each_entry_once_and_ends_where_the_log_ended(
    cast: Cast, fetch: Callable[[str], Any], ending: str
) -> None:
    fill(cast, MANY)
    known = AuditEntry.objects.filter(team=cast.team).count()

    answer = fetch(ending)
    rename_team(user=cast.owner, team_id=cast.team.pk, name="Meanwhile")

    assert numbers(file_of(answer), ending) == list(range(known, 0, -1))


@ENDINGS
def test_file_is_made_a_piece_at_a_time(
    cast: Cast, fetch: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    fill(cast, MANY)
    monkeypatch.setattr(export, "CHUNK_ENTRIES", 50)
    known = AuditEntry.objects.filter(team=cast.team).count()
    first, second = fetch(ending), fetch(ending)

    with CaptureQueriesContext(connection) as asked:
        async_to_sync(length_of)(first)
    tracemalloc.start()
    length = async_to_sync(length_of)(second)
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(asked) == ceil(known / 50) + 1  # the last one finds nothing more
    assert most < length / 2


async def length_of(answer: Any) -> int:
    """Fetch the file, and keep nothing of it."""
    return sum([len(piece) async for piece in answer.streaming_content])
