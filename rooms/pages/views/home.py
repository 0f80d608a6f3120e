"""The home page of a team, the list of its rooms, and the room of a new member."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.errors import NotFound
from accounts.mfa import has_mfa
from accounts.models import Team, User
from accounts.permissions import (
    VIEW,
    access_team,
    access_team_with_permissions,
    deleted_teams,
    is_suspended,
    require_user,
)
from accounts.views.lists import typed_words
from rooms.pages.home import home_context
from rooms.pages.sidebar import ListPages, list_context, people_context, room_row
from rooms.pages.views.last_team import LAST_TEAM, remember_team
from rooms.permissions import VIEW as VIEW_ROOM
from rooms.permissions import access_room
from rooms.services import landing_room


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show what needs the user in the team of `?team=`, or of the team that was viewed last."""
    user = require_user(request)
    found, teams = _team(request, user)
    if found is None:
        return _no_team(request, user)
    team, permissions = found
    remember_team(request, team.pk)
    page = home_context(user, team, permissions) | {"teams": teams}
    return render(request, "rooms/home.html", page)


@require_safe
def rooms(request: HttpRequest) -> HttpResponse:
    """List the user's rooms and the open rooms of the same team as `home`."""
    user = require_user(request)
    found, teams = _team(request, user)
    if found is None:
        return _no_team(request, user)
    team, _permissions = found
    remember_team(request, team.pk)
    pages = ListPages(
        rooms=request.GET.get("page", ""),
        joinable=request.GET.get("open", ""),
        archived=request.GET.get("archived", ""),
        words=typed_words(request.GET.get("q", "")),
    )
    return render(request, "rooms/list.html", list_context(user, team, pages) | {"teams": teams})


@require_safe
def arrive(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Redirect a new member of the team to the first room, or to the home page without a room."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    room_id = landing_room(user, team.pk)
    if room_id is None:
        return redirect(f"{reverse('rooms:home')}?team={team.pk}")
    return redirect("rooms:room", room_id)


@require_safe
def row(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Show the sidebar's row of a room that the user came into while the page was open."""
    user = require_user(request)
    here = access_room(user, room_id, VIEW_ROOM)
    return render(request, "_room_row.html", {"room": room_row(user, here)})


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


def _no_team(request: HttpRequest, user: User) -> HttpResponse:
    page = {"deleted": deleted_teams(user), "suspended": is_suspended(user)}
    return render(request, "rooms/no_team.html", page)


def _team(
    request: HttpRequest, user: User
) -> tuple[tuple[Team, frozenset[str]] | None, list[Team]]:
    """Return the team to show with the user's permissions on it, and all teams of the user by name.

    Without `?team=`, this is the team that was viewed last, or the first accessible team; None for
    a user without a team.
    """
    teams = list(Team.objects.visible_to(user))
    asked = request.GET.get("team")
    if asked:
        try:
            return access_team_with_permissions(user, UUID(asked), VIEW), teams
        except ValueError:
            raise NotFound from None
    last = request.session.get(LAST_TEAM)
    # A team that requires MFA must not lock a user without MFA out of the other teams.
    shut = any(team.require_mfa for team in teams) and not has_mfa(user)
    in_order = sorted(teams, key=lambda team: (shut and team.require_mfa, str(team.pk) != last))
    if not in_order:
        return None, []
    return access_team_with_permissions(user, in_order[0].pk, VIEW), teams
