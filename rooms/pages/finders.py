"""The people and personas that the forms of rooms offer: see `accounts.views.finder`.

The caller has checked that `user` may create rooms in the team, or may manage the room.
"""

from django.db.models import QuerySet

from accounts.models import Team, TeamMember, User
from accounts.services.people import matching_members
from accounts.views.finder import Candidates, Choice, as_choice, people
from agents.models import Persona
from agents.permissions import matching_personas
from rooms.models import Room, RoomMember
from rooms.services.personas import bindable


def people_of_new_room(user: User, team: Team) -> Candidates[TeamMember]:
    """Return the other people of the team."""
    return people(_active(team).exclude(user=user), team.pk)


def people_outside(room: Room) -> Candidates[TeamMember]:
    """Return the people of the team who are not in the room."""
    inside = room.members.active().values("user")
    return people(_active(room.team).exclude(user__in=inside), room.team_id)


def successors(user: User, room: Room) -> Candidates[RoomMember]:
    """Return the other members of the room."""

    def matching(rows: QuerySet[RoomMember], words: str) -> QuerySet[RoomMember]:
        found = matching_members(_active(room.team), room.team_id, words)
        return rows.filter(user__in=found.values("user"))

    others = room.members.active().exclude(user=user).select_related("user")
    by_name = others.order_by("user__name", "pk")
    return Candidates(by_name, matching, lambda member: as_choice(member.user), key="user_id")


def personas_of_new_room(user: User, team: Team) -> Candidates[Persona]:
    """Return the personas that `user` may bind to any room."""
    return _personas(bindable(user, team.pk).filter(confined=False))


def personas_outside(user: User, room: Room) -> Candidates[Persona]:
    """Return the personas that `user` may use and that are not bound to the room."""
    bound = room.bindings.values("persona")
    return _personas(bindable(user, room.team_id).exclude(pk__in=bound))


def _active(team: Team) -> QuerySet[TeamMember]:
    return TeamMember.objects.active().filter(team=team)


def _personas(personas: QuerySet[Persona]) -> Candidates[Persona]:
    return Candidates(personas, matching_personas, _as_choice)


def _as_choice(persona: Persona) -> Choice:
    note = f"@{persona.handle}, {persona.role}"
    return Choice(persona.pk, persona.name, note, persona=persona)
