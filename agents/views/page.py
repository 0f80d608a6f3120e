"""What the pages of this app have in common."""

from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.errors import NotFound
from accounts.models import Team
from accounts.permissions import require_user, team_permissions
from agents.permissions import MANAGE


def settings_page(
    request: HttpRequest, template: str, team: Team, *, section: str, **context: object
) -> HttpResponse:
    """Show a page of the team's settings."""
    user = require_user(request)
    around = {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "me": user,
        "can_manage": MANAGE in team_permissions(user, team),
        "section": section,
    }
    return render(request, template, around | context)


def in_team(thing: Model, team_id: UUID) -> None:
    """Raise NotFound unless the thing is in the team that the address names."""
    if getattr(thing, "team_id", None) != team_id:
        raise NotFound
