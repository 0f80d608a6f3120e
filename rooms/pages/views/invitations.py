"""The page that invites people to a team and, with it, into rooms."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import Conflict, Invalid
from accounts.models import Team, TeamRole, User
from accounts.permissions import MANAGE_PEOPLE, access_team, require_user
from accounts.services import invitation_url
from accounts.services.teams import grantable_roles, role_in
from accounts.views.error_pages import show_error
from accounts.views.finder import FIND, finder, found_as_json
from accounts.views.team import team_context
from rooms import services
from rooms.models import Room
from rooms.pages.finders import rooms_to_name
from rooms.pages.forms import InvitationForm


@require_http_methods(["GET", "HEAD", "POST"])
def invite_people(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Create an invitation. Only the response to its POST contains the link."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    roles = grantable_roles(role_in(team, user.pk))
    sent = request.POST if request.method == "POST" and FIND not in request.POST else None
    form = InvitationForm(
        sent, roles=roles, initial={"role": TeamRole.MEMBER, **request.POST.dict()}
    )
    if form.is_valid():
        try:
            link = _invite(user, team, form)
        except Conflict as error:
            show_error(request, error, form)
        else:
            fresh = InvitationForm(roles=roles, initial={"role": TeamRole.MEMBER})
            return _render(request, user, team, form=fresh, link=link)
    elif "role" in form.errors:
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    return _render(request, user, team, form=form)


@require_safe
def find(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Return the rooms that `?q=` finds as JSON, for the script of the finder."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    return found_as_json(request, rooms_to_name(user, team))


def _invite(user: User, team: Team, form: InvitationForm) -> str:
    """Create the invitation and return its link."""
    data = form.cleaned_data
    _invitation, token = services.invite_into_rooms(
        user=user,
        team_id=team.pk,
        room_ids=data["rooms"],
        role=data["role"],
        lifetime=timedelta(days=data["days"]),
        max_uses=data["max_uses"],
        email=data["email"],
    )
    return invitation_url(token)


def _render(request: HttpRequest, user: User, team: Team, **page: Any) -> HttpResponse:
    url = reverse("rooms:find_rooms_to_name", args=[team.pk])
    context = {
        **team_context(user, team, "people"),
        "general": list(Room.objects.joined_on_arrival(team.pk).order_by("created_at", "pk")),
        "room_finder": finder(rooms_to_name(user, team), "rooms", url, request.POST),
        **page,
    }
    return render(request, "rooms/invite.html", context)
