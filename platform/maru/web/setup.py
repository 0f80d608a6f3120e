"""The set-up of an empty installation: one link, one page, then the first room."""

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
from accounts.services import check_setup_link, make_setup_link, use_setup_link
from accounts.views.error_pages import show_refusal
from accounts.views.forms import SetupForm
from rooms.models import Room
from rooms.services import open_team


def link_for_empty_installation(address: str) -> str | None:
    """Return a fresh set-up link on the server at `address`; None where all is set up."""
    token = make_setup_link()
    return address + reverse("setup", args=[token]) if token else None


@transaction.atomic
def found(
    *, token: str, name: str, email: str, password: str | None, team_name: str
) -> tuple[User, Team, Room]:
    """Make the first account, its team and the team's first room, or nothing at all."""
    user, team = use_setup_link(
        token=token, name=name, email=email, password=password, team_name=team_name
    )
    return user, team, open_team(user=user, team_id=team.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@login_not_required
@sensitive_post_parameters("password")
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """Show the form to whoever has the link; by POST, make everything and open the first room."""
    try:
        link = check_setup_link(token)
    except NotFound:
        return _closed(request)
    form = SetupForm(request.POST or None)
    if form.is_valid():
        data = form.cleaned_data
        model = data.pop("model")
        try:
            user, team, room = found(token=token, **data)
        except NotFound:
            return _closed(request)
        except MaruError as error:
            show_refusal(request, error, form)
        else:
            get_adapter(request).login(request, user)
            if model == "provider":
                return redirect("agents:connection_create", team.pk)
            return redirect("rooms:room", room.pk)
    return render(request, "accounts/setup.html", _page(form, link))


def _page(form: SetupForm, link: SetupLink) -> dict[str, Any]:
    seconds = (link.expires_at - timezone.now()).total_seconds()
    return {"form": form, "minutes": max(1, round(seconds / 60)), "checks": _checks()}


def _closed(request: HttpRequest) -> HttpResponse:
    """Wrong, used and too old look the same."""
    return render(request, "accounts/setup_closed.html", status=404)


def _checks() -> list[tuple[str, str]]:
    """What this server consists of, as far as it is known to be true while the page is made."""
    here = _("in this process")
    return [
        (_("Database"), _database()),
        (_("Live delivery"), here if settings.EMBEDDED else "Redis"),
        (_("Answers"), here if settings.EMBEDDED else _("in workers")),
        (_("Mail"), _("printed by the server") if _mail_is_printed() else _("by a mail server")),
    ]


def _mail_is_printed() -> bool:
    return settings.EMAIL_BACKEND == "django.core.mail.backends.console.EmailBackend"


def _database() -> str:
    """The name and version of what answers."""
    connection.ensure_connection()
    version: tuple[int, ...] = connection.get_database_version()
    figures = version[:1] if connection.vendor == "postgresql" else version[:2]
    return f"{connection.display_name} {'.'.join(map(str, figures))}"
