"""The votes on the answers of a persona, for people who may edit it."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from accounts.permissions import require_user
from accounts.views.lists import list_page
from agents.permissions import EDIT, access_persona
from agents.views.settings_page import check_team, render_settings_page
from rooms.queries import opinions_on


@require_safe
def votes(request: HttpRequest, team_id: UUID, persona_id: UUID) -> HttpResponse:
    """Show the votes, newest first, without their authors and rooms."""
    persona = access_persona(require_user(request), persona_id, EDIT)
    check_team(persona, team_id)
    return render_settings_page(
        request,
        "rooms/votes.html",
        persona.team,
        section="personas",
        persona=persona,
        current_persona_id=persona.pk,
        page=list_page(opinions_on(persona), after=request.GET.get("after", ""), by="-pk"),
    )
