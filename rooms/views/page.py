"""What the pages of this app have in common."""

from typing import Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest

from accounts.errors import MaruError

LAST_TEAM: Final = "last_team"


def remember_team(request: HttpRequest, team_id: UUID) -> None:
    """Keep which team was looked at last.

    Only a change is written: reading a page must not wait for the database to be free.
    """
    if request.session.get(LAST_TEAM) != str(team_id):
        request.session[LAST_TEAM] = str(team_id)


def say_refusal(request: HttpRequest, error: MaruError) -> None:
    """Say on the page itself what a rule forbids; what is not there at all is a page of its own."""
    if error.status in (403, 404):
        raise error
    messages.error(request, str(error.detail))
