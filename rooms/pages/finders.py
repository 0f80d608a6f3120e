"""The people, personas and rooms that the forms of rooms offer: see `accounts.views.finder`.

The caller has checked that `user` may create rooms in the team or invite people to it, or may
manage the room.
"""

from django.db.models import QuerySet

from accounts.models import Team, TeamMember, User
from accounts.services.people import matching_users
from accounts.views.finder import Candidates, Choice, as_choice, people
from agents.models import Persona
from agents.permissions import matching_personas
from rooms.models import Privacy, Room, RoomMember
from rooms.pages.sidebar import people_around, personas_around
from rooms.services.personas import bindable


def people_of_new_room(user: User, team: Team) -> Candidates[TeamMember]:
    """Return the other people of the team."""
    return people(_active(team).exclude(user=user), team.pk)


def people_outside(user: User, room: Room, *, team_wide: bool) -> Candidates[TeamMember]:
    """Return the people of the team who are not in the room.

    If not `team_wide`, only people who share another room with `user`, as in the sidebar.
    """
    outside = _active(room.team).exclude(user__in=room.members.active().values("user"))
    if not team_wide:
        around = people_around(user, room.team, team_wide=False)
        outside = outside.filter(user__in=around.order_by().values("pk"))
    return people(outside, room.team_id)


def successors(user: User, room: Room) -> Candidates[RoomMember]:
    """Return the other members of the room."""

    def matching(rows: QuerySet[RoomMember], words: str) -> QuerySet[RoomMember]:
        return rows.filter(user__in=matching_users(room.team_id, words))

    others = room.members.active().exclude(user=user).select_related("user")
    by_name = others.order_by("user__name", "pk")
    return Candidates(by_name, matching, lambda member: as_choice(member.user), key="user_id")


def personas_of_new_room(user: User, team: Team) -> Candidates[Persona]:
    """Return the personas that `user` may bind to any room."""
    return _personas(bindable(user, team.pk).filter(confined=False))


def personas_outside(user: User, room: Room, *, team_wide: bool) -> Candidates[Persona]:
    """Return the personas that `user` may use and that are not bound to the room.

    If not `team_wide`, only those that the sidebar shows to `user`.
    """
    outside = bindable(user, room.team_id).exclude(pk__in=room.bindings.values("persona"))
    if not team_wide:
        around = personas_around(user, room.team, team_wide=False)
        outside = outside.filter(pk__in=around.order_by().values("pk"))
    return _personas(outside)


def rooms_to_name(user: User, team: Team) -> Candidates[Room]:
    """Return the rooms whose members `user` may change: those that an invitation can name."""

    def matching(rows: QuerySet[Room], words: str) -> QuerySet[Room]:
        return rows.filter(name__icontains=words)

    def as_choice(room: Room) -> Choice:
        icon = "lock" if room.privacy == Privacy.PRIVATE else "hash"
        return Choice(room.pk, room.name, room.topic, icon=icon)

    managed = Room.objects.managed_by(user).filter(team=team, archived_at=None)
    return Candidates(managed.order_by("name", "pk"), matching, as_choice)


def _active(team: Team) -> QuerySet[TeamMember]:
    return TeamMember.objects.active().filter(team=team)


def _personas(personas: QuerySet[Persona]) -> Candidates[Persona]:
    return Candidates(personas, matching_personas, _as_choice)


def _as_choice(persona: Persona) -> Choice:
    note = f"@{persona.handle}, {persona.role}"
    return Choice(persona.pk, persona.name, note, persona=persona)
