"""Renders the pages of this app inside the team's settings."""

from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.errors import NotFound
from accounts.models import Team
from accounts.permissions import require_user, team_permissions
from agents.permissions import MANAGE


def render_settings_page(
    request: HttpRequest, template: str, team: Team, *, section: str, **context: object
) -> HttpResponse:
    """Render a page of the team's settings with its navigation."""
    user = require_user(request)
    navigation = {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "me": user,
        "can_manage": MANAGE in team_permissions(user, team),
        "section": section,
    }
    return render(request, template, navigation | context)


def check_team(row: Model, team_id: UUID) -> None:
    """Raise NotFound unless the row belongs to the team in the URL."""
    if getattr(row, "team_id", None) != team_id:
        raise NotFound
