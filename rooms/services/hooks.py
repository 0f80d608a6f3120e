"""What rooms do when people lose their access and personas change; called in that transaction."""

from accounts.models import Invitation, Team, TeamMember, TeamRole, User
from accounts.revocation import Ending
from agents.models import Connection, Persona
from rooms.event_log import record
from rooms.fanout import publisher
from rooms.models import Privacy
from rooms.protocol.events import PersonaChanged
from rooms.protocol.serializers import persona_body
from rooms.runs.ending import (
    KEY_REMOVED,
    PERSONA_UNBOUND,
    fail_runs_of_personas,
    fail_unauthorized_runs,
)
from rooms.services import (
    close_rooms,
    end_unallowed_answers,
    enter_invited_rooms,
    leave_rooms,
    lock_rooms_of,
    reopen_rooms,
    return_to_rooms,
    show_member,
    suspend_from_rooms,
    unbind,
)


def access_ended(ending: Ending) -> None:
    """Take whoever leaves a team out of its rooms; close the sockets of whatever else ends."""
    if ending.team_id is not None:
        member = User.objects.get(pk=ending.user_id)
        leave_rooms(member=member, team_id=ending.team_id)
        return
    publisher.publish_on_commit(
        publisher.CredentialRevoked(ending.user_id, ending.token_id, ending.session_key)
    )


def member_joined(member: TeamMember, invitation: Invitation) -> None:
    """Let whoever was invited into rooms into them."""
    enter_invited_rooms(person=member.user, invitation=invitation)


def member_suspended(member: TeamMember) -> None:
    """Take the rooms of the team from somebody, for now."""
    suspend_from_rooms(member=member.user, team_id=member.team_id)


def member_restored(member: TeamMember) -> None:
    """Give them back."""
    return_to_rooms(member=member.user, team_id=member.team_id)


def member_role_changed(member: TeamMember) -> None:
    """End what their role let them ask; a guest is not in rooms that are open to the team."""
    end_unallowed_answers(asker=member.user, team_id=member.team_id)
    if member.role == TeamRole.GUEST:
        leave_rooms(member=member.user, team_id=member.team_id, privacy=Privacy.TEAM)


def profile_changed(user: User) -> None:
    """Show somebody as they are now, in each of their rooms."""
    show_member(user)


def team_deleted(team: Team, by: User) -> None:
    """Shut all the rooms of a team."""
    close_rooms(team=team, by=by)


def team_restored(team: Team) -> None:
    """Open them again."""
    reopen_rooms(team=team)


def persona_changed(persona: Persona) -> None:
    """Show the persona as it is now, in each of its rooms; switched off, it says no more there."""
    for room in lock_rooms_of(persona):
        record(room, PersonaChanged(persona_body(persona)))
        if not persona.enabled:
            fail_unauthorized_runs(room)


def persona_rights_taken(persona: Persona) -> None:
    """End the answers of the persona to whoever may not ask it any more."""
    for room in lock_rooms_of(persona):
        fail_unauthorized_runs(room)


def persona_leaves(persona: Persona) -> None:
    """End what the persona is answering and take it out of its rooms."""
    for room in lock_rooms_of(persona):
        fail_runs_of_personas(room, [persona], PERSONA_UNBOUND)
        unbind(room, persona.pk)


def key_taken(connection: Connection) -> None:
    """End what is being answered by a key that is not there any more."""
    personas = list(connection.personas.all())
    for room in lock_rooms_of(*personas):
        fail_runs_of_personas(room, personas, KEY_REMOVED)
