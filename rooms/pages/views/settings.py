"""The settings page of a room: name, answers, members, personas, archiving and deletion."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import Invalid, MaruError
from accounts.models import TeamRole, User
from accounts.permissions import MANAGE_PEOPLE, access_team, require_user
from accounts.services import invitation_url
from accounts.views.error_pages import show_error
from rooms import services
from rooms.models import Room
from rooms.pages.forms import (
    AddPersonaForm,
    AddPersonForm,
    InviteForm,
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
    form = RoomSettingsForm(request.POST or None, instance=here)
    if form.is_valid():
        try:
            _change_room(user, here, form)
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(request, _("Saved."))
            return redirect("rooms:settings", room_id)
    return render(request, "rooms/settings.html", settings_context(user, here, form))


@require_POST
def add_person(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Add a member of the team to the room."""
    form = AddPersonForm(request.POST)

    def add(user: User) -> None:
        person, role = _cleaned(form, "person", "role")
        services.put_member(user=user, room_id=room_id, member_id=person, role=role)

    return _act_and_redirect(request, room_id, add)


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
    access_room(user, room_id, MANAGE)
    (successor,) = _cleaned(SuccessorForm(request.POST), "person")
    try:
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
    page = settings_context(user, here, RoomSettingsForm(instance=here))
    return render(request, "rooms/settings.html", {**page, "link": invitation_url(token)})


@require_POST
def add_persona(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Bind a persona of the team to the room."""
    form = AddPersonaForm(request.POST)

    def add(user: User) -> None:
        (persona,) = _cleaned(form, "persona")
        services.bind_persona(user=user, room_id=room_id, persona_id=persona)

    return _act_and_redirect(request, room_id, add)


@require_POST
def remove_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> HttpResponse:
    """Unbind a persona from the room."""
    return _act_and_redirect(
        request,
        room_id,
        lambda user: services.unbind_persona(user=user, room_id=room_id, persona_id=persona_id),
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


def _change_room(user: User, here: Room, form: RoomForm) -> None:
    sent = [name for name in form.changed_data if name != "privacy" or name in form.data]
    changed = {name: form.cleaned_data[name] for name in sent}
    if "default_persona" in changed:
        persona = changed["default_persona"]
        changed["default_persona"] = persona.pk if persona else None
    if changed:
        services.update_room(user=user, room_id=here.pk, **changed)


def _act_and_redirect(
    request: HttpRequest, room_id: UUID, act: Callable[[User], object]
) -> HttpResponse:
    """Call `act` after the permission check, then redirect to the settings with a message."""
    user = require_user(request)
    access_room(user, room_id, MANAGE, even_archived=True)
    try:
        act(user)
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect("rooms:settings", room_id)


def _cleaned(form: Any, *names: str) -> list[Any]:
    if not form.is_valid():
        raise Invalid
    return [form.cleaned_data[name] for name in names]
