"""The pages of rooms. Each asks a gate or calls a service; the socket makes them live."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.audit import note_refusal
from accounts.errors import Invalid, MaruError, NotFound
from accounts.forms import show_refusal
from accounts.gate import (
    CREATE_ROOM,
    MANAGE_PEOPLE,
    access_team,
    deleted_teams,
    signed_in,
)
from accounts.gate import VIEW as VIEW_TEAM
from accounts.mfa import has_mfa
from accounts.models import Team, TeamRole, User
from accounts.services import link_of
from agents.permissions import personas_seen_by
from rooms import services
from rooms.forms import (
    AddPersonaForm,
    AddPersonForm,
    HeirForm,
    InviteForm,
    MessageForm,
    NewRoomForm,
    RoleForm,
    RoomForm,
    RoomSettingsForm,
)
from rooms.models import Room
from rooms.pages.room import room_context
from rooms.pages.settings import settings_context
from rooms.pages.shell import home_context, people_around, shell_context
from rooms.permissions import MANAGE, VIEW, access_room

_LAST_TEAM = "last_team"
_SEQ = re.compile(r"[0-9]{1,18}")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The rooms of a team: the one that was asked for, else the one that was looked at last."""
    user = signed_in(request)
    team = _team(request, user)
    if team is None:
        return render(request, "rooms/no_team.html", {"deleted": deleted_teams(user)})
    _remember(request, team.pk)
    return render(request, "rooms/home.html", home_context(user, team))


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Make a room, with its first personas and people."""
    user = signed_in(request)
    team = access_team(user, team_id, CREATE_ROOM)
    form = NewRoomForm(
        request.POST or None,
        personas=personas_seen_by(user, team, everybody=True).filter(confined=False),
        people=people_around(user, team, everybody=True),
    )
    if form.is_valid():
        try:
            return redirect("rooms:room", _make_room(user, team, form).pk)
        except MaruError as error:
            show_refusal(request, form, error)
    return render(request, "rooms/create.html", shell_context(user, team) | {"form": form})


@require_safe
def room(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """The conversation of a room; `?before=` shows an earlier part of it."""
    user = signed_in(request)
    here = access_room(user, room_id, VIEW)
    _remember(request, here.team_id)
    return _room_page(request, user, here)


@require_POST
def post(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Say something, without a script. What is refused stays in the composer."""
    user = signed_in(request)
    here = access_room(user, room_id, VIEW)
    form = MessageForm(request.POST)
    try:
        if not form.is_valid():
            raise Invalid
        posted = services.post_message(
            user=user,
            room_id=room_id,
            text=form.cleaned_data["text"].replace("\r\n", "\n"),
            client_id=form.cleaned_data["client_id"],
            personas=form.cleaned_data["answers"],
        )
    except MaruError as error:
        note_refusal(request, error)
        refused = {"unsent": request.POST.get("text", ""), "refusal": error.detail}
        response = _room_page(request, user, here, status=error.status, **refused)
        if error.retry_after is not None:
            response["Retry-After"] = str(error.retry_after)
        return response
    return redirect(f"{reverse('rooms:room', args=[room_id])}#message-{posted.message.pk}")


@require_POST
def cancel(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Stop an answer, without a script."""
    run = services.cancel_run(user=signed_in(request), run_id=run_id)
    return redirect("rooms:room", run.room_id)


@require_POST
def retry(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Ask again, without a script."""
    run = services.retry_run(user=signed_in(request), run_id=run_id)
    return redirect("rooms:room", run.room_id)


@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """What the room is called, who answers in it, and who is in it."""
    user = signed_in(request)
    here = access_room(user, room_id, MANAGE, even_archived=True)
    form = RoomSettingsForm(request.POST or None, instance=here)
    if form.is_valid():
        try:
            _change_room(user, here, form)
        except MaruError as error:
            show_refusal(request, form, error)
        else:
            messages.success(request, _("Saved."))
            return redirect("rooms:settings", room_id)
    return render(request, "rooms/settings.html", settings_context(user, here, form))


@require_POST
def add_person(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Let somebody of the team into the room."""
    form = AddPersonForm(request.POST)

    def add(user: User) -> None:
        person, role = _cleaned(form, "person", "role")
        services.put_member(user=user, room_id=room_id, member_id=person, role=role)

    return _settle(request, room_id, add)


@require_POST
def set_role(request: HttpRequest, room_id: UUID, user_id: UUID) -> HttpResponse:
    """Change somebody's role in the room."""
    form = RoleForm(request.POST)

    def change(user: User) -> None:
        (role,) = _cleaned(form, "role")
        services.put_member(user=user, room_id=room_id, member_id=user_id, role=role)

    return _settle(request, room_id, change)


@require_POST
def remove_person(request: HttpRequest, room_id: UUID, user_id: UUID) -> HttpResponse:
    """Take somebody out of the room."""
    return _settle(
        request,
        room_id,
        lambda user: services.remove_member(user=user, room_id=room_id, member_id=user_id),
    )


@require_POST
def leave(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Leave the room."""
    user = signed_in(request)
    try:
        services.remove_member(user=user, room_id=room_id, member_id=user.pk)
    except MaruError as error:
        _say(request, error)
        return redirect("rooms:room", room_id)
    return redirect("rooms:home")


@require_POST
def join(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Come into a room that is open to its team."""
    services.join_room(user=signed_in(request), room_id=room_id)
    return redirect("rooms:room", room_id)


@require_POST
def hand_over(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Make somebody else the owner of the room. Whoever did it may not change it any more."""
    user = signed_in(request)
    access_room(user, room_id, MANAGE)
    (heir,) = _cleaned(HeirForm(request.POST), "person")
    try:
        services.hand_over_room(user=user, room_id=room_id, member_id=heir)
    except MaruError as error:
        _say(request, error)
        return redirect("rooms:settings", room_id)
    messages.success(request, _("The room is handed over."))
    return redirect("rooms:room", room_id)


@require_POST
def invite(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Make an invitation into the team and this room. Its link is in this one answer only."""
    user = signed_in(request)
    here = access_room(user, room_id, MANAGE)
    access_team(user, here.team_id, MANAGE_PEOPLE)
    (email,) = _cleaned(InviteForm(request.POST), "email")
    _invitation, token = services.invite_into_rooms(
        user=user, team_id=here.team_id, room_ids=[room_id], role=TeamRole.GUEST, email=email
    )
    page = settings_context(user, here, RoomSettingsForm(instance=here))
    return render(request, "rooms/settings.html", {**page, "link": link_of(token)})


@require_POST
def archive(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Close the room for writing."""
    services.archive_room(user=signed_in(request), room_id=room_id)
    messages.success(request, _("The room is archived."))
    return redirect("rooms:settings", room_id)


@require_POST
def restore(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Open an archived room again."""
    services.restore_room(user=signed_in(request), room_id=room_id)
    messages.success(request, _("The room is open again."))
    return redirect("rooms:settings", room_id)


@require_POST
def delete(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Take the room away from everybody."""
    services.delete_room(user=signed_in(request), room_id=room_id)
    messages.success(request, _("The room is deleted."))
    return redirect("rooms:home")


@require_POST
def add_persona(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Let a persona of the team answer in the room."""
    form = AddPersonaForm(request.POST)

    def add(user: User) -> None:
        (persona,) = _cleaned(form, "persona")
        services.bind_persona(user=user, room_id=room_id, persona_id=persona)

    return _settle(request, room_id, add)


@require_POST
def remove_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> HttpResponse:
    """Take a persona out of the room."""
    return _settle(
        request,
        room_id,
        lambda user: services.unbind_persona(user=user, room_id=room_id, persona_id=persona_id),
    )


def _team(request: HttpRequest, user: User) -> Team | None:
    """Return the team to show, behind its gate; None for whoever is in no team.

    Without a team in the address it is the one looked at last, or the first that opens.
    """
    asked = request.GET.get("team")
    if asked:
        try:
            return access_team(user, UUID(asked), VIEW_TEAM)
        except ValueError:
            raise NotFound from None
    teams = list(Team.objects.of(user))
    last = request.session.get(_LAST_TEAM)
    # A team that asks for a second step shuts nobody out of the others.
    shut = any(team.require_mfa for team in teams) and not has_mfa(user)
    teams.sort(key=lambda team: (shut and team.require_mfa, str(team.pk) != last))
    return access_team(user, teams[0].pk, VIEW_TEAM) if teams else None


def _remember(request: HttpRequest, team_id: UUID) -> None:
    """Only a change is written: reading a page must not wait for the database to be free."""
    if request.session.get(_LAST_TEAM) != str(team_id):
        request.session[_LAST_TEAM] = str(team_id)


def _make_room(user: User, team: Team, form: NewRoomForm) -> Room:
    return services.create_room(
        user=user,
        team_id=team.pk,
        name=form.cleaned_data["name"],
        topic=form.cleaned_data["topic"],
        privacy=form.cleaned_data["privacy"],
        personas=[persona.pk for persona in form.cleaned_data["personas"]],
        people=[person.pk for person in form.cleaned_data["people"]],
    )


def _room_page(
    request: HttpRequest, user: User, here: Room, *, status: int = 200, **extra: Any
) -> HttpResponse:
    before = request.GET.get("before", "")
    with timezone.override(_zone(request)):
        page = {
            **shell_context(user, here.team, here),
            **room_context(user, here, int(before) if _SEQ.fullmatch(before) else None),
            "aside_state": "open" if "panel" in request.GET else "auto",
            **extra,
        }
        return render(request, "rooms/room.html", page, status=status)


def _zone(request: HttpRequest) -> ZoneInfo | None:
    """Return the time zone that the browser has named; scripts keep the cookie."""
    try:
        return ZoneInfo(request.COOKIES.get("maru_zone", ""))
    except (KeyError, ValueError, OSError):
        return None  # not the name of a zone, or not even of a file


def _change_room(user: User, here: Room, form: RoomForm) -> None:
    sent = [name for name in form.changed_data if name != "privacy" or name in form.data]
    changed = {name: form.cleaned_data[name] for name in sent}
    if "default_persona" in changed:
        persona = changed["default_persona"]
        changed["default_persona"] = persona.pk if persona else None
    if changed:
        services.update_room(user=user, room_id=here.pk, **changed)


def _settle(request: HttpRequest, room_id: UUID, act: Callable[[User], object]) -> HttpResponse:
    """Do something to the room's people or personas, and show its settings again."""
    user = signed_in(request)
    access_room(user, room_id, MANAGE, even_archived=True)
    try:
        act(user)
        messages.success(request, _("Saved."))
    except MaruError as error:
        _say(request, error)
    return redirect("rooms:settings", room_id)


def _cleaned(form: Any, *names: str) -> list[Any]:
    if not form.is_valid():
        raise Invalid
    return [form.cleaned_data[name] for name in names]


def _say(request: HttpRequest, error: MaruError) -> None:
    """Say on the page itself what a rule forbids; what is not there at all is a page of its own."""
    if error.status in (403, 404):
        raise error
    messages.error(request, str(error.detail))
