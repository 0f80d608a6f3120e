"""The audit log of a team: its page and its export."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.api.audit import entry_json
from accounts.audit import export
from accounts.audit.log import audit
from accounts.models import AuditEntry, Team, User
from accounts.permissions import MANAGE_PEOPLE, access_team, require_user
from accounts.services.teams import members_visible_to
from accounts.views.finder import finder, people
from accounts.views.forms import AuditForm
from accounts.views.team import team_context

PAGE_SIZE: Final = 50


@require_safe
def show_log(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show the entries that match the filters, newest first."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    form = AuditForm(request.GET, team=team)
    matching = _matching_entries(team, form)
    if before := form.cleaned_data.get("before"):
        matching = matching.filter(number__lt=before)
    entries = list(matching[: PAGE_SIZE + 1])
    context = {
        **team_context(user, team, "audit"),
        "form": form,
        "actors": finder(
            people(members_visible_to(user, team), team_id),
            "actor",
            reverse("accounts:find_people", args=[team_id]),
            request.GET,
            single=True,
            offers=False,
        ),
        "entries": entries[:PAGE_SIZE],
        "names": _names(team, entries),
        "older": _older_url(request, entries[PAGE_SIZE - 1]) if len(entries) > PAGE_SIZE else "",
    }
    return render(request, "accounts/audit.html", context)


@require_POST
@transaction.atomic
def export_log(request: HttpRequest, team_id: UUID) -> StreamingHttpResponse:
    """Return the matching entries as a file, and audit the export.

    The file ends with the newest entry before the export. If it cannot hold all matching entries,
    its name contains the number of entries.
    """
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    entries = _matching_entries(team, AuditForm(request.POST, team=team))
    newest = entries.first()
    entries = entries.filter(number__lte=newest.number if newest else 0)
    is_truncated = entries[export.MAX_ENTRIES :].exists()
    file_format = "csv" if request.POST.get("format") == "csv" else "json"
    after = {"format": file_format, "whole": not is_truncated}
    audit(user, "audit.exported", team.pk, team_id=team.pk, after=after)
    suffix = f"-newest-{export.MAX_ENTRIES}" if is_truncated else ""
    chunks, content_type = (
        (export.csv_chunks(entries), "text/csv; charset=utf-8")
        if file_format == "csv"
        else (export.json_chunks(entries, entry_json), "application/json")
    )
    return StreamingHttpResponse(
        export.stream_chunks(chunks),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="maru-audit{suffix}.{file_format}"'},
    )


def _matching_entries(team: Team, form: AuditForm) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.filter(team=team).select_related("actor")
    return entries.matching(**form.filters()).order_by("-number")


def _names(team: Team, entries: Iterable[AuditEntry]) -> dict[str, str]:
    """Return the names of the members whose ids occur in the entries, by id.

    Ids of users who left the team are not resolved.
    """
    mentioned = {str(entry.target_id) for entry in entries if entry.target_kind == "user"}
    for values in (values for entry in entries for values in (entry.before, entry.after)):
        mentioned.update(values.get("people", ()))
        mentioned.update([values["user"]] if "user" in values else [])
    people = User.objects.filter(memberships__team=team, pk__in=mentioned)
    return {str(pk): name for pk, name in people.values_list("pk", "name")}


def _older_url(request: HttpRequest, last: AuditEntry) -> str:
    query = request.GET.copy()
    query["before"] = str(last.number)
    return f"?{query.urlencode()}"
