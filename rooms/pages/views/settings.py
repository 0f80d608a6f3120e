"""The settings page of a room: name, answers, members, personas, archiving and deletion."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.errors import Invalid, MaruError
from accounts.models import TeamRole, User
from accounts.permissions import (
    CREATE_ROOM,
    MANAGE_PEOPLE,
    access_team,
    require_user,
    team_permissions,
)
from accounts.services import invitation_url
from accounts.views.error_pages import show_error
from accounts.views.finder import FIND, Candidates, found_as_json
from agents.permissions import USE, access_persona
from rooms import services
from rooms.models import Room
from rooms.pages.finders import people_outside, personas_outside, successors
from rooms.pages.forms import (
    AddPeopleForm,
    AddPersonasForm,
    InviteForm,
    PersonaRoomsForm,
    RoleForm,
    RoomForm,
    RoomSettingsForm,
    SuccessorForm,
)
from rooms.pages.settings import settings_context
from rooms.permissions import MANAGE, access_room


@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Show and save the settings of a room."""
    user = require_user(request)
    here = access_room(user, room_id, MANAGE, even_archived=True)
    form = _settings_form(user, here, request.POST or None)
    if form.is_valid():
        try:
            _change_room(user, here, form)
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(request, _("Saved."))
            return redirect("rooms:settings", room_id)
    return render(request, "rooms/settings.html", settings_context(request, user, here, form))


@require_safe
def find(request: HttpRequest, room_id: UUID, of: str) -> HttpResponse:
    """Return the people, members or personas that `?q=` finds as JSON, for a finder's script."""
    user = require_user(request)
    here = access_room(user, room_id, MANAGE, even_archived=True)
    team_wide = CREATE_ROOM in team_permissions(user, here.team)
    candidates: dict[str, Candidates[Any]] = {
        "people": people_outside(user, here, team_wide=team_wide),
        "members": successors(user, here),
        "personas": personas_outside(user, here, team_wide=team_wide),
    }
    return found_as_json(request, candidates[of])


@require_POST
def add_person(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Add members of the team to the room."""
    form = AddPeopleForm(request.POST)

    def add(user: User) -> None:
        people, role = _cleaned(form, "person", "role")
        for person in people:
            services.put_member(user=user, room_id=room_id, member_id=person, role=role)

    return _act_and_redirect(request, room_id, add, to="#people")


@require_POST
def set_role(request: HttpRequest, room_id: UUID, user_id: UUID) -> HttpResponse:
    """Change the role of a member."""
    form = RoleForm(request.POST)

    def change(user: User) -> None:
        (role,) = _cleaned(form, "role")
        services.put_member(user=user, room_id=room_id, member_id=user_id, role=role)

    return _act_and_redirect(request, room_id, change)


@require_POST
def remove_person(request: HttpRequest, room_id: UUID, user_id: UUID) -> HttpResponse:
    """Remove a member from the room."""
    return _act_and_redirect(
        request,
        room_id,
        lambda user: services.remove_member(user=user, room_id=room_id, member_id=user_id),
    )


@require_POST
def hand_over(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Transfer ownership to another member; the former owner loses access to this page."""
    user = require_user(request)
    here = access_room(user, room_id, MANAGE)
    if FIND in request.POST:
        return _show_found(request, user, here)
    try:
        (successor,) = _cleaned(SuccessorForm(request.POST), "successor")
        services.hand_over_room(user=user, room_id=room_id, member_id=successor)
    except MaruError as error:
        show_error(request, error)
        return redirect("rooms:settings", room_id)
    messages.success(request, _("The room has a new owner."))
    return redirect("rooms:room", room_id)


@require_POST
def invite(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Invite a person to the team and this room; only this response contains the link."""
    user = require_user(request)
    here = access_room(user, room_id, MANAGE)
    access_team(user, here.team_id, MANAGE_PEOPLE)
    (email,) = _cleaned(InviteForm(request.POST), "email")
    _invitation, token = services.invite_into_rooms(
        user=user, team_id=here.team_id, room_ids=[room_id], role=TeamRole.GUEST, email=email
    )
    page = settings_context(request, user, here, _settings_form(user, here))
    return render(request, "rooms/settings.html", {**page, "link": invitation_url(token)})


@require_POST
def add_persona(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Bind personas of the team to the room."""
    form = AddPersonasForm(request.POST)

    def add(user: User) -> None:
        (personas,) = _cleaned(form, "persona")
        for persona in personas:
            services.bind_persona(user=user, room_id=room_id, persona_id=persona)

    return _act_and_redirect(request, room_id, add, to="#personas")


@require_POST
def add_to_rooms(request: HttpRequest, persona_id: UUID) -> HttpResponse:
    """Bind a persona to the chosen rooms; shown on the page of a persona that is in no room."""
    user = require_user(request)
    persona = access_persona(user, persona_id, USE)
    try:
        (chosen,) = _cleaned(PersonaRoomsForm(request.POST), "room")
        for room_id in chosen:
            services.bind_persona(user=user, room_id=room_id, persona_id=persona_id)
    except MaruError as error:
        show_error(request, error)
    else:
        messages.success(request, _("%(name)s answers there now.") % {"name": persona.name})
        if len(chosen) == 1:
            return redirect("rooms:room", chosen[0])
    return redirect("agents:persona", persona.team_id, persona_id)


@require_POST
def remove_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> HttpResponse:
    """Unbind a persona from the room."""
    return _act_and_redirect(
        request,
        room_id,
        lambda user: services.unbind_persona(user=user, room_id=room_id, persona_id=persona_id),
    )


@require_POST
def mute_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> HttpResponse:
    """Mute a persona in the room, or unmute it."""
    muted = request.POST.get("muted") == "on"
    return _act_and_redirect(
        request,
        room_id,
        lambda user: services.mute_persona(
            user=user, room_id=room_id, persona_id=persona_id, muted=muted
        ),
        to="#personas",
    )


@require_POST
def archive(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Archive the room: it becomes read-only."""
    services.archive_room(user=require_user(request), room_id=room_id)
    messages.success(request, _("The room is archived."))
    return redirect("rooms:settings", room_id)


@require_POST
def restore(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Restore an archived room."""
    services.restore_room(user=require_user(request), room_id=room_id)
    messages.success(request, _("The room is restored."))
    return redirect("rooms:settings", room_id)


@require_POST
def delete(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Delete the room."""
    services.delete_room(user=require_user(request), room_id=room_id)
    messages.success(request, _("The room is deleted."))
    return redirect("rooms:home")


def _settings_form(user: User, here: Room, sent: QueryDict | None = None) -> RoomSettingsForm:
    may_invite = MANAGE_PEOPLE in team_permissions(user, here.team)
    return RoomSettingsForm(sent, instance=here, may_invite=may_invite)


def _change_room(user: User, here: Room, form: RoomForm) -> None:
    optional = {"privacy", "persona_turns", "answers_in", "mode", "summarizes"}
    absent = {name for name in optional if not form.data.get(name)} | {"lead"} - form.data.keys()
    changed = {name: form.cleaned_data[name] for name in form.changed_data if name not in absent}
    for name in {"default_persona", "lead"} & changed.keys():
        persona = changed[name]
        changed[name] = persona.pk if persona else None
    if changed:
        services.update_room(user=user, room_id=here.pk, **changed)


def _act_and_redirect(
    request: HttpRequest, room_id: UUID, act: Callable[[User], object], *, to: str = ""
) -> HttpResponse:
    """Call `act` after the permission check, then redirect to the settings with a message.

    A form that was sent to find people or personas is shown again with what was found.
    """
    user = require_user(request)
    here = access_room(user, room_id, MANAGE, even_archived=True)
    if FIND in request.POST:
        return _show_found(request, user, here)
    try:
        act(user)
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect(f"{reverse('rooms:settings', args=[room_id])}{to}")


def _show_found(request: HttpRequest, user: User, here: Room) -> HttpResponse:
    page = settings_context(request, user, here, _settings_form(user, here))
    return render(request, "rooms/settings.html", page)


def _cleaned(form: Any, *names: str) -> list[Any]:
    """Return the values of the form. Raises Invalid with the sentence of the first mistake."""
    if not form.is_valid():
        sentence = next(iter(form.errors.values()))[0]
        raise Invalid(sentence)
    return [form.cleaned_data[name] for name in names]
