"""The page that imports personas from YAML."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.audit.log import set_refusal
from accounts.errors import MaruError
from accounts.permissions import access_team, require_user
from accounts.views.error_pages import show_error
from agents import services
from agents.permissions import MANAGE
from agents.services import Imported
from agents.views.persona_forms import ImportForm
from agents.views.settings_page import render_settings_page


@require_http_methods(["GET", "HEAD", "POST"])
def form(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show the form, and create all personas of a text, or none."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE)
    sent = request.method == "POST"
    form = ImportForm(request.POST, request.FILES, team=team) if sent else ImportForm(team=team)
    if sent and form.is_valid():
        try:
            imported = services.import_personas(user=user, team_id=team_id, **form.values())
        except MaruError as error:
            _show_mistakes(request, error, form)
        else:
            _report(request, imported)
            return redirect("agents:personas", team_id)
    return render_settings_page(
        request, "agents/persona_import.html", team, section="personas", form=form
    )


def _show_mistakes(request: HttpRequest, error: MaruError, form: ImportForm) -> None:
    """Add each mistake to the text in which it is, with the name of its entry."""
    if not error.fields or error.fields.keys() <= form.fields.keys():
        show_error(request, error, form)
        return
    set_refusal(request, error)
    for name, sentence in error.fields.items():
        place = "tasks" if name.startswith("tasks.") else "agents"
        form.add_error(place, f"{name}: {sentence}")


def _report(request: HttpRequest, imported: Imported) -> None:
    count = len(imported.personas)
    sentence = ngettext("%(count)s persona is imported.", "%(count)s personas are imported.", count)
    messages.success(request, sentence % {"count": count})
    if imported.ignored:
        entries = "; ".join(f"{name}: {', '.join(each)}" for name, each in imported.ignored.items())
        messages.info(request, _("Not imported: %(fields)s") % {"fields": entries})
