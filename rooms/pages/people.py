"""The people of a team that the sidebar loads when its list of people is opened."""

from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from accounts.models import Team, User
from accounts.permissions import CREATE_ROOM, team_permissions
from accounts.services.people import matching_users
from rooms.pages.sidebar import people_around

PEOPLE: Final = 50


def people_context(user: User, team: Team, words: str, after: UUID | None) -> dict[str, Any]:
    """Return the context of `rooms/_people.html`: people whose name or handle has these words.

    With `after`, the people behind that person in the list.
    """
    team_wide = CREATE_ROOM in team_permissions(user, team)
    people = people_around(user, team, team_wide=team_wide)
    if words:
        people = people.filter(pk__in=matching_users(team.pk, words))
    last = people.filter(pk=after).first() if after else None
    if last is not None:
        people = people.filter(Q(name__gt=last.name) | Q(name=last.name, pk__gt=last.pk))
    found = list(people[: PEOPLE + 1])
    more = found[PEOPLE - 1].pk if len(found) > PEOPLE else None
    return {"team": team, "people": found[:PEOPLE], "words": words, "more": more}
