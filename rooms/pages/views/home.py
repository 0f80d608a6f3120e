"""The list of a team's rooms."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.errors import NotFound
from accounts.mfa import has_mfa
from accounts.models import Team, User
from accounts.permissions import (
    VIEW,
    access_team,
    deleted_teams,
    is_suspended,
    require_user,
)
from accounts.views.lists import typed_words
from rooms.pages.people import people_context
from rooms.pages.sidebar import HomePages, home_context
from rooms.pages.views.last_team import LAST_TEAM, remember_team


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the rooms of the team in `?team=`, or of the team that was viewed last."""
    user = require_user(request)
    team = _team(request, user)
    if team is None:
        page = {"deleted": deleted_teams(user), "suspended": is_suspended(user)}
        return render(request, "rooms/no_team.html", page)
    remember_team(request, team.pk)
    pages = HomePages(
        rooms=request.GET.get("page", ""),
        joinable=request.GET.get("open", ""),
        archived=request.GET.get("archived", ""),
        words=typed_words(request.GET.get("q", "")),
    )
    return render(request, "rooms/home.html", home_context(user, team, pages))


@require_safe
def people(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show people of the team for the sidebar: those with the words `?q=`, behind `?after=`."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    try:
        after = UUID(request.GET.get("after", ""))
    except ValueError:
        after = None
    words = typed_words(request.GET.get("q", ""))
    return render(request, "rooms/_people.html", people_context(user, team, words, after))


def _team(request: HttpRequest, user: User) -> Team | None:
    """Return the team to show, after its permission check; None for a user without a team.

    Without `?team=`, this is the team that was viewed last, or the first accessible team.
    """
    asked = request.GET.get("team")
    if asked:
        try:
            return access_team(user, UUID(asked), VIEW)
        except ValueError:
            raise NotFound from None
    teams = list(Team.objects.visible_to(user))
    last = request.session.get(LAST_TEAM)
    # A team that requires MFA must not lock a user without MFA out of the other teams.
    shut = any(team.require_mfa for team in teams) and not has_mfa(user)
    teams.sort(key=lambda team: (shut and team.require_mfa, str(team.pk) != last))
    return access_team(user, teams[0].pk, VIEW) if teams else None
