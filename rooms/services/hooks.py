"""Apply changes of members, teams, personas and connections to rooms, in the same transaction."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q

from accounts.hooks import AccessRevoked, AccountHooks
from accounts.models import Invitation, Team, TeamMember, TeamRole, User
from agents.hooks import AgentHooks
from agents.models import Connection, Persona
from rooms.event_log import record
from rooms.fanout import publisher
from rooms.models import Privacy, Room, Run
from rooms.protocol.events import PersonaChanged
from rooms.protocol.failures import KEY_REMOVED, PERSONA_UNBOUND
from rooms.protocol.serializers import persona_body
from rooms.runs.ending import IDLE, fail_runs_of_personas, fail_unauthorized_runs
from rooms.services.people.arrivals import arrive
from rooms.services.people.members import publish_profile
from rooms.services.people.memberships import (
    leave_rooms,
    leave_with_account,
    restore_to_rooms,
    return_with_account,
    suspend_from_rooms,
)
from rooms.services.personas import lock_rooms_of, unbind
from rooms.services.rooms import cancel_queues, close_rooms, empty_room, reopen_rooms
from rooms.services.runs import fail_unauthorized_runs_of


class RoomAccountHooks(AccountHooks):
    """The hooks of rooms for users, teams and credentials."""

    def access_revoked(self, event: AccessRevoked) -> None:
        """Remove a user who leaves a team from its rooms, or close the revoked connections."""
        if event.team_id is not None:
            user = User.objects.get(pk=event.user_id)
            leave_rooms(member=user, team_id=event.team_id)
            return
        publisher.publish_on_commit(
            publisher.CredentialRevoked(event.user_id, event.token_id, event.session_key)
        )

    def member_joined(self, member: TeamMember, invitation: Invitation) -> None:
        arrive(member=member, invitation=invitation)

    def member_suspended(self, member: TeamMember) -> None:
        suspend_from_rooms(member=member.user, team_id=member.team_id)

    def member_restored(self, member: TeamMember) -> None:
        restore_to_rooms(member=member.user, team_id=member.team_id)

    def member_role_changed(self, member: TeamMember) -> None:
        """Remove a guest from open rooms, and fail the runs that the new role does not allow.

        Owners and admins have all rights on all personas (`agents.services.grants`), so no run of
        theirs ends. No room is locked for them: a deactivation makes several members owners, and
        then locks other rooms, so the order of the locks would not be that of the ids.
        """
        if member.role in (TeamRole.OWNER, TeamRole.ADMIN):
            return
        if member.role == TeamRole.GUEST:  # first: it locks all rooms of the member, in order
            leave_rooms(member=member.user, team_id=member.team_id, privacy=Privacy.TEAM)
        fail_unauthorized_runs_of(askers=[member.user], teams=[member.team_id])

    def account_suspended(self, user: User) -> None:
        leave_with_account(member=user)

    def account_restored(self, user: User) -> None:
        return_with_account(member=user)

    def access_blocked(self, users: Collection[User], teams: Collection[Team]) -> None:
        fail_unauthorized_runs_of(askers=users, teams=[team.pk for team in teams])

    def profile_changed(self, user: User) -> None:
        publish_profile(user)

    def team_closing(self, team: Team, by: User) -> None:
        idle = Run.objects.filter(team=team, state__in=IDLE).order_by("room")
        cancel_queues(idle.values_list("room", flat=True).distinct(), by=by)

    def team_deleted(self, team: Team, by: User) -> None:
        close_rooms(team=team, by=by)

    def team_expired(self, team_id: UUID) -> None:
        for room_id in Room.objects.filter(team=team_id).values_list("pk", flat=True):
            empty_room(room_id)

    def team_restored(self, team: Team) -> None:
        reopen_rooms(team=team)


class RoomAgentHooks(AgentHooks):
    """The hooks of rooms for personas and connections."""

    def persona_changed(self, persona: Persona) -> None:
        """Record the change in each room of the persona; fail its runs if it was disabled."""
        for room in lock_rooms_of(persona):
            record(room, PersonaChanged(persona_body(persona)))
            if not persona.enabled:
                fail_unauthorized_runs(room, Q(persona=persona))

    def persona_deleted(self, persona: Persona) -> None:
        """Fail the runs of the persona and unbind it from its rooms."""
        for room in lock_rooms_of(persona):
            fail_runs_of_personas(room, [persona], PERSONA_UNBOUND)
            unbind(room, persona.pk)

    def persona_rights_revoked(self, persona: Persona) -> None:
        """Fail the runs whose askers may not use the persona any more."""
        for room in lock_rooms_of(persona):
            fail_unauthorized_runs(room, Q(persona=persona))

    def connection_key_removed(self, connection: Connection) -> None:
        """Fail the runs of the connection's personas."""
        personas = list(connection.personas.all())
        for room in lock_rooms_of(*personas):
            fail_runs_of_personas(room, personas, KEY_REMOVED)
