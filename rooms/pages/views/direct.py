"""The page that opens a direct room, and the form that a profile card sends to it."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.errors import MaruError
from accounts.models import Team, User
from accounts.permissions import CREATE_ROOM, access_team, require_user
from accounts.views.error_pages import show_error
from accounts.views.finder import FIND, Candidates, finder
from rooms import services
from rooms.models import Room
from rooms.pages.finders import people_of_new_room, personas_of_new_room
from rooms.pages.forms import DirectForm
from rooms.pages.sidebar import shell_context


@require_http_methods(["GET", "HEAD", "POST"])
def open_room(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Open the direct room of the chosen people and personas.

    `?room=` chooses the people and personas of a direct room, to which the user adds others.
    """
    user = require_user(request)
    team = access_team(user, team_id, CREATE_ROOM)
    is_sent = request.method == "POST" and FIND not in request.POST
    form = DirectForm(request.POST if is_sent else None)
    if form.is_valid():
        try:
            return redirect("rooms:room", _open(user, team, form).pk)
        except MaruError as error:
            show_error(request, error, form)
    chosen = request.POST or _companions(user, request.GET.get("room", ""))

    def found(name: str, candidates: Candidates[Any], view: str) -> Any:
        return finder(candidates, name, reverse(view, args=[team_id]), chosen)

    context = shell_context(user, team) | {
        "form": form,
        "people_finder": found("users", people_of_new_room(user, team), "rooms:find_direct"),
        "persona_finder": found(
            "personas", personas_of_new_room(user, team), "rooms:find_direct_personas"
        ),
    }
    return render(request, "rooms/direct.html", context)


def _open(user: User, team: Team, form: DirectForm) -> Room:
    return services.open_direct_room(user=user, team_id=team.pk, **form.cleaned_data)


def _companions(user: User, room_id: str) -> QueryDict:
    """Return the members and personas of a direct room of the user, as the form would send them."""
    chosen = QueryDict(mutable=True)
    try:
        room = Room.objects.visible_to(user).filter(pk=UUID(room_id), direct=True).first()
    except ValueError:
        room = None
    if room is not None:
        members = room.members.active().exclude(user=user)
        chosen.setlist("users", [str(pk) for pk in members.values_list("user_id", flat=True)])
        personas = room.bindings.values_list("persona_id", flat=True)
        chosen.setlist("personas", [str(pk) for pk in personas])
    return chosen
