"""The page of a room, and the form posts that replace the socket in a browser without scripts."""

import re
from datetime import date, datetime, time
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_POST, require_safe

from accounts.audit.log import set_refusal
from accounts.errors import Invalid, MaruError, NotFound
from accounts.models import User
from accounts.permissions import require_user
from accounts.views.error_pages import show_error
from rooms import queries, replies, services
from rooms.models import Message, Room
from rooms.pages.forms import MessageForm
from rooms.pages.room import NEWEST, room_context
from rooms.pages.sidebar import shell_context
from rooms.pages.starters import starters
from rooms.pages.views.history import seq_at
from rooms.pages.views.last_team import remember_team
from rooms.permissions import VIEW, access_room, view_room

_SEQ: Final = re.compile(r"[0-9]{1,18}")


@require_safe
def room(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Show the room.

    `?before=SEQ` shows an earlier part of its timeline, `?around=MESSAGE` the part with a message,
    `?on=DATE` that with the first message of a day.
    `?starter=N` writes a question of the welcome into the composer, without scripts.
    """
    user = require_user(request)
    here, permissions = view_room(user, room_id)
    remember_team(request, here.team_id)
    chosen = request.GET.get("starter", "")
    question = dict(zip("123", starters(), strict=True)).get(chosen, "")
    return room_page(request, user, here, permissions=permissions, unsent=question)


@require_safe
def message(request: HttpRequest, room_id: UUID, message_id: UUID) -> HttpResponse:
    """The permanent address of a message: redirect to the part of the room or thread with it."""
    here = access_room(require_user(request), room_id, VIEW)
    found = here.messages.filter(pk=message_id).first()
    if found is None:
        raise NotFound
    if not found.in_room:
        page = reverse("rooms:thread", args=[room_id, found.thread_root_id])
        last = queries.versions_of(here, found)[-1]
        part = "" if queries.is_among_newest(here, last, NEWEST) else f"?before={last.seq + 1}"
        return redirect(f"{page}{part}#thread-message-{last.pk}")
    room_page = reverse("rooms:room", args=[room_id])
    is_shown = found.replaced_by is None and queries.is_among_newest(here, found, NEWEST)
    part = "" if is_shown else f"?around={message_id}"
    return redirect(f"{room_page}{part}#message-{message_id}")


@require_POST
def post(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Post a message without a script; a refused text stays in the composer."""
    user = require_user(request)
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
            mentions_first=True,
            reply_to=form.cleaned_data["reply_to"],
            also_in_room=form.cleaned_data["also_in_room"],
        )
    except MaruError as error:
        set_refusal(request, error)
        root = _root(here, form.cleaned_data.get("reply_to"))
        names = ("unsent_reply", "refusal_of_reply") if root else ("unsent", "refusal")
        values = (request.POST.get("text", ""), error.detail)
        refused: dict[str, Any] = dict(zip(names, values, strict=True))
        response = room_page(request, user, here, root, status=error.status, **refused)
        if error.retry_after is not None:
            response["Retry-After"] = str(error.retry_after)
        return response
    message = posted.message
    if message.thread_root_id is None:
        return redirect(f"{reverse('rooms:room', args=[room_id])}#message-{message.pk}")
    page = reverse("rooms:thread", args=[room_id, message.thread_root_id])
    return redirect(f"{page}#thread-message-{message.pk}")


def _root(room: Room, message_id: UUID | None) -> Message | None:
    """Return the root of the thread of a message; None without a message of the room."""
    if message_id is None:
        return None
    message = room.messages.filter(pk=message_id).first()
    return message and replies.root_of(message)


@require_POST
def cancel(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Cancel a run without a script."""
    run = services.cancel_run(user=require_user(request), run_id=run_id)
    return _to_place(run.room_id, run.thread)


@require_POST
def retry(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Retry a run without a script."""
    run = services.retry_run(user=require_user(request), run_id=run_id)
    return _to_place(run.room_id, run.thread)


@require_POST
def go_on(request: HttpRequest, message_id: UUID) -> HttpResponse:
    """Continue the answers between personas without a script."""
    answer, _runs = services.continue_answers(user=require_user(request), message_id=message_id)
    return _to_place(answer.room_id, answer.thread_root_id)


def _to_place(room_id: UUID, thread: UUID | None) -> HttpResponse:
    """Redirect to the page of a thread, or without one to that of the room."""
    return redirect("rooms:thread", room_id, thread) if thread else redirect("rooms:room", room_id)


@require_POST
def join(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Join a room that is open to its team."""
    services.join_room(user=require_user(request), room_id=room_id)
    return redirect("rooms:room", room_id)


@require_POST
def place(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Mute the room or make it a favourite, or undo that, in the sidebar of the user."""
    user = require_user(request)
    changes = {name: request.POST[name] for name in ("muted", "favourite") if name in request.POST}
    if not changes or not set(changes.values()) <= {"yes", "no"}:
        access_room(user, room_id, VIEW)
        raise Invalid
    chosen = {name: value == "yes" for name, value in changes.items()}
    services.place_room(user=user, room_id=room_id, **chosen)
    return redirect("rooms:room", room_id)


@require_POST
def dismiss_welcome(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Remove the welcome of a new member from the page of the room."""
    services.dismiss_welcome(user=require_user(request), room_id=room_id)
    return redirect("rooms:room", room_id)


@require_POST
def leave(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Leave the room."""
    user = require_user(request)
    try:
        services.remove_member(user=user, room_id=room_id, member_id=user.pk)
    except MaruError as error:
        show_error(request, error)
        return redirect("rooms:room", room_id)
    return redirect("rooms:home")


def room_page(
    request: HttpRequest,
    user: User,
    here: Room,
    thread: Message | None = None,
    *,
    permissions: list[str] | None = None,
    status: int = 200,
    **extra: Any,
) -> HttpResponse:
    """Return the page of a room, with the thread of a root beside its timeline.

    `permissions` are those of the user in the room, if the caller has just read them.
    """
    around = request.GET.get("around", "")
    on = _day(request.GET.get("on", ""))
    queries.name_direct_rooms(user, [here])
    aside = "thread" if thread else "open" if "panel" in request.GET else "auto"
    shell = shell_context(user, here.team, here)
    with timezone.override(_zone(request)):
        page = {
            **shell,
            **room_context(
                user,
                here,
                before=before_in(request),
                around=_linked(here, around, on),
                thread=thread,
                row=shell["rows"].get(here.pk),
                permissions=permissions,
            ),
            "aside_state": aside,
            **extra,
        }
        return render(request, "rooms/room.html", page, status=status)


def _linked(here: Room, around: str, on: date | None) -> Message | None:
    """Return the message that the page is shown around."""
    if around:
        return _message(here, around)
    return _first_message(here, on) if on else None


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None  # a day that its month does not have


def _first_message(here: Room, day: date) -> Message | None:
    """Return the first message of the day or later, else the last one."""
    start = timezone.make_aware(datetime.combine(day, time.min))
    messages, seq = here.messages.current(), seq_at(here, start)
    return messages.filter(seq__gte=seq).order_by("seq").first() or messages.order_by("seq").last()


def _message(here: Room, text: str) -> Message:
    """Return the message with the id `text`; raises NotFound unless the room has it."""
    try:
        message = here.messages.filter(pk=UUID(text)).first()
    except ValueError:
        message = None
    if message is None:
        raise NotFound
    return message


def before_in(request: HttpRequest) -> int | None:
    """Return the seq in `?before=`; None without one."""
    before = request.GET.get("before", "")
    return int(before) if _SEQ.fullmatch(before) else None


def _zone(request: HttpRequest) -> ZoneInfo | None:
    """Return the time zone from the cookie that the page's scripts set, or None."""
    try:
        return ZoneInfo(request.COOKIES.get("maru_zone", ""))
    except (KeyError, ValueError, OSError):
        return None  # unknown, malformed, or not a valid path in the zone database
