"""What the pages of this app have in common."""

from typing import Final
from uuid import UUID

from django.http import HttpRequest

LAST_TEAM: Final = "last_team"


def remember_team(request: HttpRequest, team_id: UUID) -> None:
    """Keep which team was looked at last.

    Only a change is written: reading a page must not wait for the database to be free.
    """
    if request.session.get(LAST_TEAM) != str(team_id):
        request.session[LAST_TEAM] = str(team_id)
