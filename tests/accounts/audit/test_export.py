"""The export of the audit log: complete, in chunks and without formulas."""

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
from tests.accounts.audit.streams import read_stream
from tests.accounts.conftest import Cast

pytestmark = pytest.mark.django_db

MANY = 3_000
ENDINGS = pytest.mark.parametrize("ending", ["csv", "json"])


@pytest.fixture
def export_log(cast: Cast) -> Callable[[str], Any]:
    """Return a function that exports the log as the owner of the team."""
    client = Client()
    client.force_login(cast.owner)
    path = reverse("accounts:audit_export", args=[cast.team.pk])
    return lambda ending: client.post(path, {"format": ending})


def fill(cast: Cast, count: int) -> None:
    """Add entries to the log of the team, without a valid hash chain."""
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


def test_export_is_audited_and_contains_no_formula(
    cast: Cast, export_log: Callable[[str], Any]
) -> None:
    rename_team(user=cast.owner, team_id=cast.team.pk, name="=cmd()")
    cast.owner.name = "=HYPERLINK(1)"
    cast.owner.save()

    answer = export_log("csv")
    rows = list(csv.DictReader(io.StringIO(read_stream(answer))))
    items = json.loads(read_stream(export_log("json")))

    assert answer["Content-Disposition"].startswith("attachment")
    assert rows[0]["actor_name"] == "'=HYPERLINK(1)"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert [item["action"] for item in items][:2] == ["audit.exported", "team.changed"]
    assert items[1]["after"] == {"name": "=cmd()"}


@ENDINGS
def test_export_without_entries_is_valid(cast: Cast, ending: str) -> None:
    client = Client()
    client.force_login(cast.owner)
    path = reverse("accounts:audit_export", args=[cast.team.pk])

    answer = client.post(path, {"format": ending, "since": "9999-12-31"})

    assert numbers(read_stream(answer), ending) == []


@ENDINGS
def test_name_of_a_truncated_export_contains_its_length(
    cast: Cast, export_log: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    for name in ("One", "Two", "Three"):
        rename_team(user=cast.owner, team_id=cast.team.pk, name=name)
    whole = export_log(ending)
    monkeypatch.setattr(export, "MAX_ENTRIES", 2)
    monkeypatch.setattr(export, "CHUNK_ENTRIES", 1)

    cut = export_log(ending)

    last = AuditEntry.objects.filter(team=cast.team).latest("number")
    assert f'filename="maru-audit.{ending}"' in whole["Content-Disposition"]
    assert f'filename="maru-audit-newest-2.{ending}"' in cut["Content-Disposition"]
    assert last.after == {"format": ending, "whole": False}
    assert numbers(read_stream(cut), ending) == [last.number - 1, last.number - 2]


@ENDINGS
def test_export_has_each_entry_once_and_no_later_entry(
    cast: Cast, export_log: Callable[[str], Any], ending: str
) -> None:
    fill(cast, MANY)
    count_before = AuditEntry.objects.filter(team=cast.team).count()

    answer = export_log(ending)
    rename_team(user=cast.owner, team_id=cast.team.pk, name="Later")

    assert numbers(read_stream(answer), ending) == list(range(count_before, 0, -1))


@ENDINGS
def test_export_is_made_in_chunks(
    cast: Cast, export_log: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    fill(cast, MANY)
    monkeypatch.setattr(export, "CHUNK_ENTRIES", 50)
    count_before = AuditEntry.objects.filter(team=cast.team).count()
    first, second = export_log(ending), export_log(ending)

    with CaptureQueriesContext(connection) as queries:
        async_to_sync(length_of)(first)
    tracemalloc.start()
    length = async_to_sync(length_of)(second)
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(queries) == ceil(count_before / 50) + 1  # the last query returns no row
    assert most < length / 2


async def length_of(answer: Any) -> int:
    """Return the length of the content without storing it."""
    return sum([len(piece) async for piece in answer.streaming_content])
