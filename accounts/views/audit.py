"""The audit of a team: to look through, and to take along."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from accounts.api.audit import entry_json
from accounts.audit import export
from accounts.audit.log import audit
from accounts.models import AuditEntry, Team, User
from accounts.permissions import MANAGE_PEOPLE, access_team, require_user
from accounts.views.forms import AuditForm
from accounts.views.team import team_context

PAGE: Final = 50


@require_safe
def show_log(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Who did what, the newest first."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    form = AuditForm(request.GET, team=team)
    found = _found(team, form)
    if before := form.cleaned_data.get("before"):
        found = found.filter(number__lt=before)
    entries = list(found[: PAGE + 1])
    page = {
        **team_context(user, team, "audit"),
        "form": form,
        "entries": entries[:PAGE],
        "names": _names(team, entries),
        "older": _older(request, entries[PAGE - 1].number) if len(entries) > PAGE else "",
    }
    return render(request, "accounts/audit.html", page)


@require_POST
@transaction.atomic
def export_log(request: HttpRequest, team_id: UUID) -> StreamingHttpResponse:
    """Hand out what the filters leave, as a file; that somebody took it is written down, too.

    It ends where the log ends now. Its name says so where there is more than goes into one.
    """
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    entries = _found(team, AuditForm(request.POST, team=team))
    newest = entries.first()
    entries = entries.filter(number__lte=newest.number if newest else 0)
    is_cut = entries[export.MAX_ENTRIES :].exists()
    ending = "csv" if request.POST.get("format") == "csv" else "json"
    after = {"format": ending, "whole": not is_cut}
    audit(user, "audit.exported", team.pk, team_id=team.pk, after=after)
    cut = f"-newest-{export.MAX_ENTRIES}" if is_cut else ""
    file, kind = (
        (export.csv_chunks(entries), "text/csv; charset=utf-8")
        if ending == "csv"
        else (export.json_chunks(entries, entry_json), "application/json")
    )
    return StreamingHttpResponse(
        export.stream_chunks(file),
        content_type=kind,
        headers={"Content-Disposition": f'attachment; filename="maru-audit{cut}.{ending}"'},
    )


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
