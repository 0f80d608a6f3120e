"""The page of a thread, which is the room with the thread beside it, and the followed threads."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import NotFound
from accounts.models import User
from accounts.permissions import VIEW as VIEW_TEAM
from accounts.permissions import access_team, require_user
from rooms import replies, services
from rooms.models import Message, Room
from rooms.pages.sidebar import shell_context
from rooms.pages.thread import followed_context, thread_data
from rooms.pages.views.conversation import before_in, room_page
from rooms.pages.views.last_team import remember_team
from rooms.permissions import VIEW, access_room


@require_safe
def thread(request: HttpRequest, room_id: UUID, message_id: UUID) -> HttpResponse:
    """Show the thread of a message; `?before=SEQ` shows earlier replies."""
    user = require_user(request)
    room, message = _access(user, room_id, message_id)
    root = replies.root_of(message)
    if root.pk != message.pk:
        shown = root if message.replaced_by else message
        page = reverse("rooms:thread", args=[room_id, root.pk])
        return redirect(f"{page}#thread-message-{shown.pk}")
    remember_team(request, room.team_id)
    return room_page(request, user, room, message)


@require_safe
def data(request: HttpRequest, room_id: UUID, message_id: UUID) -> HttpResponse:
    """Return the thread of a root for the scripts; `?before=SEQ` returns earlier replies."""
    user = require_user(request)
    room, message = _access(user, room_id, message_id)
    if message.thread_root_id is not None:
        raise NotFound
    return JsonResponse(thread_data(user, room, replies.root_of(message), before_in(request)))


@require_POST
def follow(request: HttpRequest, room_id: UUID, message_id: UUID) -> HttpResponse:
    """Follow the thread of a message, or end to follow it."""
    user = require_user(request)
    _access(user, room_id, message_id)
    services.follow_thread(user=user, message_id=message_id, on=request.POST.get("on") == "yes")
    return redirect("rooms:thread", room_id, message_id)


@require_safe
def followed(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show the threads of a team that the user follows, unread ones first."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW_TEAM)
    remember_team(request, team.pk)
    page = shell_context(user, team) | followed_context(user, team, request.GET.get("after", ""))
    return render(request, "rooms/threads.html", page)


def _access(user: User, room_id: UUID, message_id: UUID) -> tuple[Room, Message]:
    """Return a message of a room that the user may view; raises NotFound."""
    room = access_room(user, room_id, VIEW)
    message = room.messages.filter(pk=message_id).first()
    if message is None:
        raise NotFound
    return room, message
