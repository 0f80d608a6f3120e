"""The template context of a room's settings page."""

from typing import Any

from django.db.models import OuterRef, Q, Subquery

from accounts.models import User
from agents.models import Persona
from agents.permissions import usable_by
from rooms.models import Room, RoomPersona, RoomRole
from rooms.pages.forms import RoomSettingsForm
from rooms.pages.sidebar import people_around, personas_around, shell_context


def settings_context(user: User, room: Room, form: RoomSettingsForm) -> dict[str, Any]:
    """Return the context; its data of the team is limited to what other pages show to `user`."""
    around = shell_context(user, room.team, room)
    members = list(room.members.active().select_related("user"))
    members.sort(key=lambda m: (RoomRole.values.index(m.role), m.user.name.casefold()))
    inside = {member.user_id for member in members}
    team_wide = around["can_create_rooms"]
    people = people_around(user, room.team, team_wide=team_wide)
    personas = _personas(user, room, personas_around(user, room.team, team_wide=team_wide))
    bound = sorted((p for p in personas if p.binding is not None), key=lambda p: p.binding)
    form.offer(bound)
    return {
        **around,
        "room": room,
        "form": form,
        "members": members,
        "owners": sum(member.role == RoomRole.OWNER for member in members),
        "successors": [member for member in members if member.user_id != user.pk],
        "roles": [(role.value, role.label) for role in RoomRole],
        "outside": [person for person in people if person.pk not in inside],
        "bound": bound,
        "unbound": [p for p in personas if p.binding is None and p.usable],
    }


def _personas(user: User, room: Room, around: Any) -> list[Any]:
    """Return the personas in one query, with `binding` (None: not in the room) and `usable`.

    Any: mypy cannot type the annotations of a query.
    """
    here = RoomPersona.objects.filter(room=room, persona=OuterRef("pk"))
    usable = usable_by(user, Persona.objects.filter(team=room.team_id))
    read = around.annotate(
        binding=Subquery(here.values("pk")[:1]), usable=Q(pk__in=usable.values("pk"))
    )
    return list(read)
