"""The pages of connections: a list, a form, a check and a deletion."""

from uuid import UUID

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import MaruError
from accounts.permissions import access_team, require_user
from accounts.views.error_pages import show_error
from accounts.views.lists import list_page, typed_words
from agents import services
from agents.models import Connection
from agents.permissions import MANAGE, access_connection, matching_connections
from agents.services.connection_check import CheckResult
from agents.views.connection_forms import ConnectionForm
from agents.views.settings_page import check_team, render_settings_page


@require_GET
def index(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = access_team(require_user(request), team_id, MANAGE)
    words, after = typed_words(request.GET.get("q", "")), request.GET.get("after", "")
    found = matching_connections(team.connections.all(), words)
    page = list_page(found.annotate(persona_count=Count("personas")), words=words, after=after)
    return render_settings_page(
        request, "agents/connections.html", team, section="connections", page=page
    )


@require_http_methods(["GET", "POST"])
def create(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = access_team(require_user(request), team_id, MANAGE)
    form = ConnectionForm(request.POST or None)
    if form.is_valid():
        try:
            connection = services.create_connection(
                user=require_user(request), team_id=team_id, **form.new_values()
            )
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(
                request, _("The connection %(name)s is saved.") % {"name": connection.name}
            )
            return redirect("agents:connections", team_id)
    return render_settings_page(
        request, "agents/connection.html", team, section="connections", form=form
    )


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, team_id: UUID, connection_id: UUID) -> HttpResponse:
    connection = _connection(request, team_id, connection_id)
    form = ConnectionForm(request.POST or None, connection=connection)
    if form.is_valid():
        had_key = bool(connection.key_encrypted)
        try:
            saved = services.update_connection(
                user=require_user(request), connection_id=connection_id, **form.changed_values()
            )
        except MaruError as error:
            show_error(request, error, form)
        else:
            _report_saved(request, key_dropped=had_key and not saved.key_encrypted)
            return redirect("agents:connection", team_id, connection_id)
    return _form_page(request, connection, form)


@require_POST
def check(request: HttpRequest, team_id: UUID, connection_id: UUID) -> HttpResponse:
    """Check the values of the form; a field that the form does not send keeps its stored value."""
    connection = _connection(request, team_id, connection_id)
    result = services.check_connection(
        user=require_user(request),
        connection_id=connection_id,
        base_url=request.POST.get("base_url"),
        key=request.POST.get("key", ""),
        model=_first_model(request) if "models" in request.POST else None,
    )
    if _wants_json(request):
        return _as_json(result)
    if "base_url" not in request.POST:
        (messages.success if result.ok else messages.error)(request, result.detail)
        return redirect("agents:connections", team_id)
    form = ConnectionForm(request.POST, connection=connection, listed_models=result.models)
    return _form_page(request, connection, form, result=result)


@require_POST
def check_new(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Check a connection that is not saved yet."""
    team = access_team(require_user(request), team_id, MANAGE)
    result = services.check_new_connection(
        user=require_user(request),
        team_id=team_id,
        kind=request.POST.get("kind", ""),
        base_url=request.POST.get("base_url", ""),
        key=request.POST.get("key", ""),
        model=_first_model(request),
    )
    if _wants_json(request):
        return _as_json(result)
    form = ConnectionForm(request.POST, listed_models=result.models)
    return render_settings_page(
        request, "agents/connection.html", team, section="connections", form=form, result=result
    )


@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, team_id: UUID, connection_id: UUID) -> HttpResponse:
    connection = _connection(request, team_id, connection_id)
    if request.method == "POST":
        try:
            services.delete_connection(user=require_user(request), connection_id=connection_id)
        except MaruError as error:
            show_error(request, error)
            return redirect("agents:connection", team_id, connection_id)
        messages.success(request, _("%(name)s is deleted.") % {"name": connection.name})
        return redirect("agents:connections", team_id)
    return render_settings_page(
        request,
        "agents/connection_delete.html",
        connection.team,
        section="connections",
        connection=connection,
        personas=list_page(connection.personas.all(), after=request.GET.get("after", "")),
    )


def _connection(request: HttpRequest, team_id: UUID, connection_id: UUID) -> Connection:
    connection = access_connection(require_user(request), connection_id, MANAGE)
    check_team(connection, team_id)
    return connection


def _first_model(request: HttpRequest) -> str:
    return request.POST.get("models", "").partition("\n")[0].strip()


def _form_page(
    request: HttpRequest,
    connection: Connection,
    form: ConnectionForm,
    result: CheckResult | None = None,
) -> HttpResponse:
    return render_settings_page(
        request,
        "agents/connection.html",
        connection.team,
        section="connections",
        connection=connection,
        form=form,
        result=result,
    )


def _report_saved(request: HttpRequest, *, key_dropped: bool) -> None:
    if key_dropped:
        messages.warning(
            request,
            _("Saved without a key. The stored key was removed or belonged to the old address."),
        )
    else:
        messages.success(request, _("Saved."))


def _wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def _as_json(result: CheckResult) -> JsonResponse:
    return JsonResponse({"ok": result.ok, "detail": result.detail, "models": result.models})
