"""Profile cards: who a person or a persona is, and the button that starts a conversation."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.errors import NotFound
from accounts.models import TeamMember
from accounts.permissions import CREATE_ROOM, VIEW, access_team, require_user, team_permissions
from rooms.pages.sidebar import people_around, personas_around, shell_context


@require_safe
def person(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Show the card of a member whom the user sees in the sidebar, or of the user."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    context = shell_context(user, team)
    around = people_around(user, team, team_wide=context["can_create_rooms"])
    if user_id != user.pk and not around.filter(pk=user_id).exists():
        raise NotFound
    member = TeamMember.objects.active().select_related("user").filter(team=team, user=user_id)
    return render(request, "rooms/card.html", {**context, "member": member.get()})


@require_safe
def persona(request: HttpRequest, team_id: UUID, persona_id: UUID) -> HttpResponse:
    """Show the card of a persona that the user sees in the sidebar."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    team_wide = CREATE_ROOM in team_permissions(user, team)
    shown = personas_around(user, team, team_wide=team_wide).filter(pk=persona_id).first()
    if shown is None:
        raise NotFound
    context = shell_context(user, team)
    return render(
        request,
        "rooms/card.html",
        {**context, "persona": shown, "current_persona_id": shown.pk},
    )
