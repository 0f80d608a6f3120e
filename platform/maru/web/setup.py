"""Set-up of an empty installation by a one-time link: first account, team and room."""

from typing import Any

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.errors import MaruError, NotFound
from accounts.models import SetupLink, Team, User
from accounts.services import complete_setup, create_setup_link, get_setup_link
from accounts.views.error_pages import show_error
from accounts.views.forms import SetupForm
from maru.config import mail
from rooms.models import Room
from rooms.services import create_first_room


def link_for_empty_installation(address: str) -> str | None:
    """Return a new set-up link on the server at `address`; None if an account exists already."""
    token = create_setup_link()
    return address + reverse("setup", args=[token]) if token else None


@transaction.atomic
def create_first_account(
    *, token: str, name: str, email: str, password: str | None, team_name: str
) -> tuple[User, Team, Room]:
    """Create the first account, its team and the team's first room in one transaction.

    Raises NotFound if the link is wrong, used or expired.
    """
    user, team = complete_setup(
        token=token, name=name, email=email, password=password, team_name=team_name
    )
    return user, team, create_first_room(user=user, team_id=team.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@login_not_required
@sensitive_post_parameters("password")
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """Show the set-up form; on POST, create account, team and room, and sign in."""
    try:
        link = get_setup_link(token)
    except NotFound:
        return _closed(request)
    form = SetupForm(request.POST or None)
    if form.is_valid():
        data = form.cleaned_data
        model = data.pop("model")
        try:
            user, team, room = create_first_account(token=token, **data)
        except NotFound:
            return _closed(request)
        except MaruError as error:
            show_error(request, error, form)
        else:
            get_adapter(request).login(request, user)
            if model == "provider":
                persona = room.bindings.get().persona_id
                steps = reverse("agents:connect_model", args=[team.pk, persona])
                return redirect(f"{steps}?next={reverse('rooms:room', args=[room.pk])}")
            return redirect("rooms:room", room.pk)
    return render(request, "accounts/setup.html", _page(form, link))


def _page(form: SetupForm, link: SetupLink) -> dict[str, Any]:
    seconds = (link.expires_at - timezone.now()).total_seconds()
    return {"form": form, "minutes": max(1, round(seconds / 60)), "checks": _checks()}


def _closed(request: HttpRequest) -> HttpResponse:
    """Return the same page for a wrong, a used and an expired link."""
    return render(request, "accounts/setup_closed.html", status=404)


def _checks() -> list[tuple[str, str]]:
    """Return each part of this server with its state, for the set-up page."""
    here = _("in this process")
    return [
        (_("Database"), _database()),
        (_("Live delivery"), here if settings.EMBEDDED else "Redis"),
        (_("Answers"), here if settings.EMBEDDED else _("in workers")),
        (_("Mail"), _("printed by the server") if mail.is_printed() else _("by a mail server")),
    ]


def _database() -> str:
    """Return the name and version of the database server."""
    connection.ensure_connection()
    version: tuple[int, ...] = connection.get_database_version()
    figures = version[:1] if connection.vendor == "postgresql" else version[:2]
    return f"{connection.display_name} {'.'.join(map(str, figures))}"
