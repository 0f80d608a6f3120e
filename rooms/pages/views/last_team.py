"""Remembers in the session which team a user viewed last."""

from typing import Final
from uuid import UUID

from django.http import HttpRequest

LAST_TEAM: Final = "last_team"


def remember_team(request: HttpRequest, team_id: UUID) -> None:
    """Store the team in the session.

    Only a change is written: on SQLite a page view must not wait for the write lock.
    """
    if request.session.get(LAST_TEAM) != str(team_id):
        request.session[LAST_TEAM] = str(team_id)
