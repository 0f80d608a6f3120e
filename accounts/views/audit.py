"""The audit of a team: to look through, and to take along."""

import csv
import io
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from accounts.audit import audit
from accounts.audit_api import entry_body
from accounts.forms import AuditForm
from accounts.gate import MANAGE_PEOPLE, access_team, signed_in
from accounts.models import AuditEntry, Team, User
from accounts.views.team import team_page

PAGE: Final = 50
LONGEST_EXPORT: Final = 100_000
PIECE: Final = 2_000
_COLUMNS: Final = (
    *("number", "created_at", "actor", "actor_name", "token", "ip", "action", "refused"),
    *("target_kind", "target", "before", "after", "prev_hash", "hash"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


@require_safe
def log(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Who did what, the newest first."""
    user = signed_in(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    form = AuditForm(request.GET, team=team)
    found = _found(team, form)
    if before := form.cleaned_data.get("before"):
        found = found.filter(number__lt=before)
    entries = list(found[: PAGE + 1])
    page = {
        **team_page(user, team, "audit"),
        "form": form,
        "entries": entries[:PAGE],
        "names": _names(team, entries),
        "older": _older(request, entries[PAGE - 1].number) if len(entries) > PAGE else "",
    }
    return render(request, "accounts/audit.html", page)


@require_POST
@transaction.atomic
def export(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Hand out what the filters leave, as a file; that somebody took it is written down, too.

    The file's name says so where there is more than goes into one.
    """
    user = signed_in(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    found = _found(team, AuditForm(request.POST, team=team))
    is_cut = found[LONGEST_EXPORT:].exists()
    entries = found[:LONGEST_EXPORT].iterator(PIECE)
    ending = "csv" if request.POST.get("format") == "csv" else "json"
    body, kind = _as_csv(entries) if ending == "csv" else _as_json(entries)
    after = {"format": ending, "whole": not is_cut}
    audit(user, "audit.exported", team.pk, team_id=team.pk, after=after)
    newest = f"-newest-{LONGEST_EXPORT}" if is_cut else ""
    name = f'attachment; filename="maru-audit{newest}.{ending}"'
    return HttpResponse(body, content_type=kind, headers={"Content-Disposition": name})


def _found(team: Team, form: AuditForm) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.filter(team=team).select_related("actor")
    return entries.matching(**form.asked()).order_by("-number")


def _names(team: Team, entries: Iterable[AuditEntry]) -> dict[str, str]:
    """The names of those in the team whom these entries mention; who is gone stays an id."""
    mentioned = {str(entry.target_id) for entry in entries if entry.target_kind == "user"}
    for facts in (facts for entry in entries for facts in (entry.before, entry.after)):
        mentioned.update(facts.get("people", ()))
        mentioned.update([facts["user"]] if "user" in facts else [])
    people = User.objects.filter(memberships__team=team, pk__in=mentioned)
    return {str(pk): name for pk, name in people.values_list("pk", "name")}


def _older(request: HttpRequest, number: int) -> str:
    query = request.GET.copy()
    query["before"] = str(number)
    return f"?{query.urlencode()}"


def _as_json(entries: Iterable[AuditEntry]) -> tuple[bytes, str]:
    items = (entry_body(entry).model_dump_json().encode() for entry in entries)
    return b"[%b]" % b",\n".join(items), "application/json"


def _as_csv(entries: Iterable[AuditEntry]) -> tuple[str, str]:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(_COLUMNS)
    for entry in entries:
        table.writerow([_cell(value) for value in _row(entry)])
    return out.getvalue(), "text/csv; charset=utf-8"


def _row(entry: AuditEntry) -> list[object]:
    """The values of `_COLUMNS`."""
    return [
        *(entry.number, entry.created_at.isoformat(), entry.actor_id or ""),
        *(entry.actor.name if entry.actor else "", entry.token_hint, entry.ip, entry.action),
        *(entry.refused, entry.target_kind, entry.target_id or ""),
        *(orjson.dumps(facts).decode() for facts in (entry.before, entry.after)),
        *(entry.prev_hash, entry.hash),
    ]


def _cell(value: object) -> str:
    """Keep a table from taking a text for a formula: such a text begins with an apostrophe."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
