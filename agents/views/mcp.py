"""The pages of MCP servers: a list, a form, a check, the tools of a server, and a deletion."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import msgspec
from django.contrib import messages
from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import Conflict, MaruError, RateLimited
from accounts.permissions import access_team, require_user
from accounts.views.error_pages import show_error
from accounts.views.lists import list_page
from agents import services
from agents.models import McpAuth, McpServer, Tool
from agents.permissions import MANAGE, access_mcp_server
from agents.services.connection_check import CheckResult
from agents.services.mcp_reports import problem_sentence
from agents.services.mcp_sign_in import sign_in_state
from agents.services.mcp_tools import access_tool
from agents.untrusted_text import visible
from agents.views.mcp_forms import McpServerForm
from agents.views.settings_page import check_team, render_settings_page

SECTION = "mcp"


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool with what its server says about it: all of this reaches the models."""

    tool: Tool
    description: str
    parameters: str


@require_GET
def index(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = access_team(require_user(request), team_id, MANAGE)
    listed = Q(tools__listed=True)
    waits = listed & ~Q(tools__sha256=F("tools__approved_sha256"))
    servers = team.mcp_servers.annotate(
        tool_count=Count("tools", filter=listed), waiting_count=Count("tools", filter=waits)
    )
    page = list_page(servers, after=request.GET.get("after", ""))
    return render_settings_page(
        request, "agents/mcp_servers.html", team, section=SECTION, page=page
    )


@require_http_methods(["GET", "POST"])
def create(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = access_team(require_user(request), team_id, MANAGE)
    form = McpServerForm(request.POST or None)
    if form.is_valid():
        try:
            server = services.create_mcp_server(
                user=require_user(request), team_id=team_id, **form.new_values()
            )
        except MaruError as error:
            show_error(request, error, form)
        else:
            if server.auth == McpAuth.OAUTH:
                return redirect("agents:mcp_sign_in", server.pk)
            _report(request, server)
            return redirect("agents:mcp_server", team_id, server.pk)
    return render_settings_page(request, "agents/mcp_server.html", team, section=SECTION, form=form)


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, team_id: UUID, server_id: UUID) -> HttpResponse:
    server = _server(request, team_id, server_id)
    form = McpServerForm(request.POST or None, server=server)
    if form.is_valid():
        had_secrets = bool(server.headers_encrypted)
        try:
            saved = services.update_mcp_server(
                user=require_user(request), server_id=server_id, **form.changed_values()
            )
        except MaruError as error:
            show_error(request, error, form)
        else:
            if had_secrets and not saved.headers_encrypted:
                messages.warning(
                    request,
                    _("Saved without a token. It was removed or belonged to the old address."),
                )
            else:
                messages.success(request, _("Saved."))
            return redirect("agents:mcp_server", team_id, server_id)
    return _form_page(request, server, form)


@require_POST
def check(request: HttpRequest, team_id: UUID, server_id: UUID) -> HttpResponse:
    """Check the values of the form; a field that the form does not send keeps its stored value."""
    server = _server(request, team_id, server_id)
    form = McpServerForm(request.POST, server=server)
    form.is_valid()
    result = services.check_mcp_server(
        user=require_user(request),
        server_id=server_id,
        url=request.POST.get("url"),
        headers=form.cleaned_data.get("headers"),
        token=request.POST.get("token", ""),
    )
    if _wants_json(request):
        return _as_json(result)
    return _form_page(request, server, form, result)


@require_POST
def check_new(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Check a server that is not saved yet."""
    team = access_team(require_user(request), team_id, MANAGE)
    form = McpServerForm(request.POST)
    form.is_valid()
    result = services.check_new_mcp_server(
        user=require_user(request),
        team_id=team_id,
        url=request.POST.get("url", ""),
        auth=request.POST.get("auth", ""),
        headers=form.cleaned_data.get("headers") or {},
        token=request.POST.get("token", ""),
    )
    if _wants_json(request):
        return _as_json(result)
    return render_settings_page(
        request, "agents/mcp_server.html", team, section=SECTION, form=form, result=result
    )


@require_POST
def refresh(request: HttpRequest, team_id: UUID, server_id: UUID) -> HttpResponse:
    _server(request, team_id, server_id)
    try:
        server = services.refresh_mcp_server(user=require_user(request), server_id=server_id)
    except (Conflict, RateLimited) as error:
        show_error(request, error)
    else:
        _report(request, server)
    return redirect("agents:mcp_server", team_id, server_id)


@require_POST
def tool(request: HttpRequest, team_id: UUID, tool_id: UUID) -> HttpResponse:
    """Approve a definition, or store what an admin says about a tool."""
    user = require_user(request)
    server_id = access_tool(user, team_id, tool_id).server_id
    try:
        if "sha256" in request.POST:
            services.approve_tool(
                user=user, team_id=team_id, tool_id=tool_id, sha256=request.POST["sha256"]
            )
        else:
            services.update_tool(
                user=user,
                team_id=team_id,
                tool_id=tool_id,
                changes="reads_only" not in request.POST,
                idempotent="idempotent" in request.POST,
            )
    except Conflict as error:
        messages.error(request, str(error.detail))
    else:
        messages.success(request, _("Saved."))
    # The next tool to approve is below this one.
    return redirect(reverse("agents:mcp_server", args=(team_id, server_id)) + f"#tool-{tool_id}")


@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, team_id: UUID, server_id: UUID) -> HttpResponse:
    server = _server(request, team_id, server_id)
    if request.method == "POST":
        services.delete_mcp_server(user=require_user(request), server_id=server_id)
        messages.success(request, _("%(name)s is deleted.") % {"name": server.name})
        return redirect("agents:mcp_servers", team_id)
    return render_settings_page(
        request, "agents/mcp_delete.html", server.team, section=SECTION, server=server
    )


def _server(request: HttpRequest, team_id: UUID, server_id: UUID) -> McpServer:
    server = access_mcp_server(require_user(request), server_id, MANAGE)
    check_team(server, team_id)
    return server


def _form_page(
    request: HttpRequest, server: McpServer, form: McpServerForm, result: CheckResult | None = None
) -> HttpResponse:
    return render_settings_page(
        request,
        "agents/mcp_server.html",
        server.team,
        section=SECTION,
        server=server,
        form=form,
        result=result,
        tools=list(_tool_rows(server)),
        problem=problem_sentence(server.problem),
        signed_in=sign_in_state(require_user(request), server) == "signed_in",
    )


def _tool_rows(server: McpServer) -> Iterator[ToolRow]:
    for tool in server.tools.order_by("-listed", "title", "pk"):
        parameters = msgspec.json.format(msgspec.json.encode(tool.parameters), indent=2).decode()
        yield ToolRow(tool, visible(tool.description), visible(parameters))


def _report(request: HttpRequest, server: McpServer) -> None:
    if not server.problem:  # the page shows a problem by itself
        messages.success(request, _("The tools of %(name)s are listed.") % {"name": server.name})


def _wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def _as_json(result: CheckResult) -> JsonResponse:
    return JsonResponse({"ok": result.ok, "detail": result.detail, "models": []})
