"""The general settings of a team, and the context that all pages of its settings share."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import Invalid, MaruError
from accounts.models import Team, User
from accounts.permissions import (
    MANAGE,
    MANAGE_PEOPLE,
    VIEW,
    access_deleted_team,
    access_team,
    require_user,
    team_permissions,
)
from accounts.services import delete_team, rename_team, require_mfa, restore_team
from accounts.services.teams import purged_after
from accounts.views.error_pages import show_error
from accounts.views.forms import DeleteTeamForm, TeamForm


@require_http_methods(["GET", "POST"])
def general(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show the general settings of the team; owners change its name."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE if request.method == "POST" else VIEW)
    form = TeamForm(request.POST or None, initial={"name": team.name})
    if form.is_valid():
        try:
            rename_team(user=user, team_id=team_id, name=form.cleaned_data["name"])
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(request, _("Saved."))
            return redirect("accounts:team", team_id)
    return _render_general(request, user, team, form)


@require_POST
def delete(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Delete the team; its owners can restore it for 7 days."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE)
    form = DeleteTeamForm(request.POST)
    if form.is_valid():
        try:
            delete_team(user=user, team_id=team_id, name=form.cleaned_data["name"])
        except MaruError as error:
            show_error(request, error, form)
        else:
            return redirect("accounts:team_deleted", team_id)
    return _render_general(request, user, team, TeamForm(initial={"name": team.name}), form)


@require_http_methods(["GET", "HEAD", "POST"])
def deleted(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show when a deleted team will be purged; a POST restores it."""
    user = require_user(request)
    team = access_deleted_team(user, team_id)
    if request.method == "POST":
        restore_team(user=user, team_id=team_id)
        messages.success(request, _("The team is restored."))
        return redirect("accounts:team", team_id)
    context = {"team": team, "purged_after": purged_after(team)}
    return render(request, "accounts/team_deleted.html", context)


@require_POST
def set_mfa_requirement(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Set whether the team requires two-step sign-in."""
    user = require_user(request)
    access_team(user, team_id, MANAGE)
    required = request.POST.get("required")
    if required not in ("yes", "no"):  # an unknown value must not end the requirement
        raise Invalid
    try:
        require_mfa(user=user, team_id=team_id, required=required == "yes")
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect("accounts:team", team_id)


def _render_general(
    request: HttpRequest,
    user: User,
    team: Team,
    form: TeamForm,
    deletion: DeleteTeamForm | None = None,
) -> HttpResponse:
    forms = {"form": form, "deletion": deletion or DeleteTeamForm()}
    return render(request, "accounts/team.html", {**team_context(user, team, "team"), **forms})


def team_context(user: User, team: Team, section: str) -> dict[str, Any]:
    """Return the template context that all pages of team settings share."""
    permissions = team_permissions(user, team)
    return {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "me": user,
        "can_manage": MANAGE_PEOPLE in permissions,
        "can_rename": MANAGE in permissions,
        "section": section,
    }
