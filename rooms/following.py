"""What rooms do when people lose their access and personas change; called in that transaction."""

from accounts.endings import Ending
from accounts.models import User
from agents.models import Persona
from rooms import broadcast, runs
from rooms.bodies import persona_body
from rooms.events import PersonaChanged, PersonaUnbound
from rooms.log import record
from rooms.models import Room
from rooms.services import leave_rooms_of_team


def access_ended(ending: Ending) -> None:
    """Take whoever leaves a team out of its rooms; close the sockets of whatever else ends."""
    if ending.team_id is not None:
        member = User.objects.get(pk=ending.user_id)
        leave_rooms_of_team(member=member, team_id=ending.team_id)
        return
    broadcast.publish_on_commit(
        broadcast.Ended(ending.user_id, ending.token_id, ending.session_key)
    )


def persona_changed(persona: Persona) -> None:
    """Show the persona as it is now, in each of its rooms; switched off, it says no more there."""
    for room in _locked_rooms(persona):
        record(room, PersonaChanged(persona_body(persona)))
        if not persona.enabled:
            runs.end_unallowed(room)


def persona_leaves(persona: Persona) -> None:
    """End what the persona is answering and take it out of its rooms."""
    for room in _locked_rooms(persona):
        runs.abandon(room, persona)
        room.bindings.filter(persona=persona).delete()
        record(room, PersonaUnbound(persona.pk))


def _locked_rooms(persona: Persona) -> list[Room]:
    """Lock the rooms of a persona, always in the same order, so that two changes cannot cross."""
    rooms = Room.objects.select_for_update(of=("self",))
    return list(rooms.filter(bindings__persona=persona).order_by("pk"))
