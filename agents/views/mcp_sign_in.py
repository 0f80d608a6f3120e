"""The pages of sign-ins at MCP servers: the own ones, the way there, and the way back."""

from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import Invalid, MaruError, NotFound
from accounts.models import Team
from accounts.permissions import CREATE_ROOM, require_user, team_permissions
from agents import services
from agents.models import McpAuth, McpServer, McpSignIn
from agents.permissions import MANAGE
from agents.services.mcp_sign_in import access_sign_out, may_sign_in, sign_in_state, state_of
from agents.views.settings_page import render_settings_page

KEPT = "mcp_sign_ins"
"""The key of the session: what it keeps of each sign-in that has been started, by its state."""
MAX_KEPT = 5


@require_GET
def own(request: HttpRequest) -> HttpResponse:
    """List the servers at which each person signs in, of the teams in which the user may.

    Those at which the user has signed in are listed always: to remove the sign-in.
    """
    user = require_user(request)
    teams = Team.objects.visible_to(user)
    offered = teams.filter(
        teampermission__user=user, teampermission__permission__codename=CREATE_ROOM
    )
    usable = Q(team__in=offered, enabled=True, auth=McpAuth.OAUTH)
    own = Q(team__in=teams, pk__in=McpSignIn.objects.filter(user=user).values("server"))
    servers = McpServer.objects.filter(usable | own, personal=True).select_related("team")
    held = dict(McpSignIn.objects.filter(user=user).values_list("server", "has_ended"))
    rows = [(server, state_of(held.get(server.pk))) for server in servers]
    return render(request, "agents/mcp_sign_ins.html", {"rows": rows, "section": "mcp_sign_ins"})


@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest, server_id: UUID) -> HttpResponse:
    """Show the server; after a POST, link to the page where the user signs in.

    A link and no redirect: the policy for forms allows only addresses of this installation, and
    the user sees the host first.
    """
    user = require_user(request)
    server = access_sign_out(user, server_id)
    start = None
    if request.method == "POST":
        try:
            start = services.start_sign_in(user=user, server_id=server_id)
        except Invalid as error:
            messages.error(request, str(error.detail))
        else:
            kept = request.session.get(KEPT, {})
            kept = dict(list(kept.items())[-(MAX_KEPT - 1) :])
            request.session[KEPT] = kept | {start.state: start.kept}
    context = {
        "server": server,
        "start": start,
        "state": sign_in_state(user, server),
        "may_sign_in": may_sign_in(user, server),
    }
    template = "agents/mcp_sign_in.html"
    if server.personal:
        return render(request, template, context | {"section": "mcp_sign_ins"})
    return render_settings_page(request, template, server.team, section="mcp", **context)


@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Finish the sign-in that this session has started; each state is good for one answer."""
    user = require_user(request)
    state = request.GET.get("state", "")
    started = request.session.get(KEPT, {})
    kept = started.pop(state, None)
    if kept is None:
        raise NotFound
    request.session[KEPT] = started
    server_id = UUID(kept["server"])
    code = request.GET.get("code", "")
    if not code:
        messages.error(request, _("The sign-in was cancelled."))
        return redirect("agents:mcp_sign_in", server_id)
    try:
        server = services.finish_sign_in(
            user=user, kept=kept, code=code, issuer=request.GET.get("iss")
        )
    except Invalid as error:
        messages.error(request, str(error.detail))
        return redirect("agents:mcp_sign_in", server_id)
    messages.success(request, _("You are signed in to %(name)s.") % {"name": server.name})
    return _after(request, server)


@require_POST
def sign_out(request: HttpRequest, server_id: UUID) -> HttpResponse:
    server = access_sign_out(require_user(request), server_id)
    services.sign_out(user=require_user(request), server_id=server_id)
    messages.success(request, _("The sign-in is removed."))
    if server.personal:
        return redirect("agents:mcp_sign_ins")
    return redirect("agents:mcp_server", server.team_id, server_id)


def _after(request: HttpRequest, server: McpServer) -> HttpResponse:
    """Show the next page; list the tools of the server after the sign-in of an admin."""
    user = require_user(request)
    if MANAGE not in team_permissions(user, server.team):
        return redirect("agents:mcp_sign_ins")
    try:
        services.refresh_mcp_server(user=user, server_id=server.pk)
    except MaruError as error:
        messages.error(request, str(error.detail))
    return redirect("agents:mcp_server", server.team_id, server.pk)
