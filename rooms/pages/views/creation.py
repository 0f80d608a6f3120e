"""The page that creates a room."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import MaruError
from accounts.models import Team, User
from accounts.permissions import CREATE_ROOM, access_team, require_user
from accounts.views.error_pages import show_error
from accounts.views.finder import FIND, Candidates, finder, found_as_json
from rooms import services
from rooms.models import Room
from rooms.pages.finders import people_of_new_room, personas_of_new_room
from rooms.pages.forms import NewRoomForm
from rooms.pages.sidebar import shell_context


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Create a room with its first personas and members."""
    user = require_user(request)
    team = access_team(user, team_id, CREATE_ROOM)
    people, personas = people_of_new_room(user, team), personas_of_new_room(user, team)
    is_search = FIND in request.POST
    form = NewRoomForm(
        None if is_search else request.POST or None,
        initial=request.POST.dict() if is_search else None,
        personas=personas.rows,
        people=User.objects.filter(pk__in=people.rows.values("user")),
    )
    if form.is_valid():
        try:
            return redirect("rooms:room", _make_room(user, team, form).pk)
        except MaruError as error:
            show_error(request, error, form)

    def found(name: str, candidates: Candidates[Any], view: str) -> Any:
        return finder(candidates, name, reverse(view, args=[team_id]), request.POST)

    context = shell_context(user, team) | {
        "form": form,
        "first_persona": request.POST.get("default_persona", ""),
        "people_finder": found("people", people, "rooms:find_people_of_new_room"),
        "persona_finder": found("personas", personas, "rooms:find_personas_of_new_room"),
    }
    return render(request, "rooms/create.html", context)


@require_safe
def find(request: HttpRequest, team_id: UUID, of: str) -> HttpResponse:
    """Return the people or personas that `?q=` finds as JSON, for a new or a direct room."""
    user = require_user(request)
    team = access_team(user, team_id, CREATE_ROOM)
    candidates: dict[str, Candidates[Any]] = {
        "people": people_of_new_room(user, team),
        "personas": personas_of_new_room(user, team),
    }
    return found_as_json(request, candidates[of])


def _make_room(user: User, team: Team, form: NewRoomForm) -> Room:
    return services.create_room(
        user=user,
        team_id=team.pk,
        name=form.cleaned_data["name"],
        topic=form.cleaned_data["topic"],
        privacy=form.cleaned_data["privacy"],
        personas=[persona.pk for persona in form.cleaned_data["personas"]],
        default_persona=form.cleaned_data["default_persona"],
        people=[person.pk for person in form.cleaned_data["people"]],
    )
