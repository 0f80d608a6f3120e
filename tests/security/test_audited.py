"""Each service that changes something writes one audit entry; an unlisted service fails here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import isfunction
from typing import TypedDict
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import accounts.services
import agents.services
import rooms.services
from accounts.models import AuditEntry, Invitation, Team, User
from accounts.services import (
    create_setup_link,
    create_team,
    create_token,
    create_user,
    invite,
    teams,
)
from agents.models import Connection, McpServer, Persona, Tool
from agents.services import create_demo_persona
from rooms.models import Room, Run, ToolCall
from rooms.protocol.commands import MessageSend, RoomRead
from rooms.services import create_room, post_message, put_member
from rooms.socket.dispatch import execute
from tests.rooms.acting import ARGUMENTS_SHA256, ask_about_call
from tests.security.locks import steps_after_audit

pytestmark = pytest.mark.django_db

KEY = "sk-CANARY-of-a-provider"
PROSE = "CANARY of instructions"


class TeamArguments(TypedDict):
    user: User
    team_id: UUID


@dataclass
class Scenario:
    """A team with a room, personas, a connection and a valid invitation."""

    owner: User = field(default_factory=lambda: person("Owner"))
    member: User = field(default_factory=lambda: person("Member"))
    newcomer: User = field(default_factory=lambda: person("Newcomer"))
    link: str = ""
    team: Team = field(init=False)
    room: Room = field(init=False)
    persona: Persona = field(init=False)
    unbound: Persona = field(init=False)
    connection: Connection = field(init=False)
    invitation: Invitation = field(init=False)

    def __post_init__(self) -> None:
        self.team = create_team(user=self.owner, name="Team")
        team_arguments = TeamArguments(user=self.owner, team_id=self.team.pk)
        teams.add_team_member(self.team, self.member, "member")
        self.persona = create_demo_persona(**team_arguments)
        self.unbound = create_demo_persona(**team_arguments)
        self.room = create_room(**team_arguments, name="room", personas=[self.persona.pk])
        self.connection = agents.services.create_connection(
            **team_arguments,
            name="Another",
            kind="openai",
            base_url="https://api.example.com",
            key=KEY,
        )
        self.invitation, self.link = invite(**team_arguments)


def person(name: str) -> User:
    return create_user(name=name, email=f"{name.lower()}@example.com", verified=True)


Act = Callable[[Scenario], object]
A, G, R = accounts.services, agents.services, rooms.services


def add_tool_server(scenario: Scenario) -> McpServer:
    """Add an MCP server without a sign-in, so that no test connects to it."""
    return G.create_mcp_server(
        user=scenario.owner,
        team_id=scenario.team.pk,
        name="Files",
        url="https://api.example.com/mcp",
        auth="oauth",
        headers={"X-Key": KEY},
    )


def add_server_with_tool(scenario: Scenario) -> None:
    server = add_tool_server(scenario)
    Tool.objects.create(
        team=scenario.team, server=server, key="read", name="files_read", title="Read"
    )


def added(scenario: Scenario) -> UUID:
    put_member(
        user=scenario.owner, room_id=scenario.room.pk, member_id=scenario.member.pk, role="member"
    )
    return scenario.member.pk


def setup(scenario: Scenario) -> object:
    token = create_setup_link()
    assert token
    return A.complete_setup(
        token=token, name="First", email="first@example.com", password=None, team_name="First"
    )


def delete_team_eight_days_ago(scenario: Scenario) -> None:
    A.delete_team(user=scenario.owner, team_id=scenario.team.pk, name="Team")
    Team.objects.update(deleted_at=timezone.now() - timedelta(days=8))


def ask(scenario: Scenario, *, policy: str) -> None:
    """Let a run of the owner ask about a call, or execute it."""
    (run,) = post_message(user=scenario.owner, room_id=scenario.room.pk, text="hello").runs
    ask_about_call(scenario.persona, run, policy=policy)


CHANGES: dict[str, tuple[Act, list[str]]] = {
    "accept_invitation": (
        lambda w: A.accept_invitation(user=w.newcomer, token=w.link),
        ["invitation.accepted"],
    ),
    "accept_invitation_by_digest": (
        lambda w: A.accept_invitation_by_digest(user=w.newcomer, digest=w.invitation.digest),
        ["invitation.accepted"],
    ),
    "finish_email_change": (
        lambda w: A.finish_email_change(
            user=w.owner, old_email="old@example.com", session_key=None
        ),
        ["user.address_changed"],
    ),
    "change_password": (
        lambda w: A.change_password(user=w.owner, password="another-good-password"),
        ["user.password_changed"],
    ),
    "create_team": (lambda w: A.create_team(user=w.owner, name="Second"), ["team.created"]),
    "create_user": (lambda w: person("Fourth"), ["user.created"]),
    "invite": (lambda w: A.invite(user=w.owner, team_id=w.team.pk), ["invitation.created"]),
    "create_token": (lambda w: A.create_token(user=w.owner, name="script"), ["token.created"]),
    "remove_team_member": (
        lambda w: A.remove_team_member(user=w.owner, team_id=w.team.pk, member_id=w.member.pk),
        ["team.member_removed"],
    ),
    "rename_team": (
        lambda w: A.rename_team(user=w.owner, team_id=w.team.pk, name="Renamed"),
        ["team.changed"],
    ),
    "require_mfa": (
        lambda w: A.require_mfa(user=w.owner, team_id=w.team.pk, required=False),
        ["team.changed"],
    ),
    "revoke_invitation": (
        lambda w: A.revoke_invitation(
            user=w.owner, team_id=w.team.pk, invitation_id=w.invitation.pk
        ),
        ["invitation.revoked"],
    ),
    "revoke_token": (
        lambda w: A.revoke_token(user=w.owner, token_id=w.owner.tokens.get().pk),
        ["token.revoked"],
    ),
    "set_team_role": (
        lambda w: A.set_team_role(
            user=w.owner, team_id=w.team.pk, member_id=w.member.pk, role="admin"
        ),
        ["team.member_changed"],
    ),
    "restore_user": (lambda w: A.restore_user(user=w.owner, person=w.member), ["user.restored"]),
    "suspend_user": (lambda w: A.suspend_user(user=w.owner, person=w.member), ["user.suspended"]),
    "update_profile": (lambda w: A.update_profile(user=w.owner, wood="zelkova"), ["user.changed"]),
    "complete_setup": (setup, ["team.created", "user.changed", "user.created"]),
    "create_connection": (
        lambda w: G.create_connection(
            user=w.owner,
            team_id=w.team.pk,
            name="Third",
            kind="openai",
            base_url="https://api.example.com",
            key=KEY,
        ),
        ["connection.created"],
    ),
    "update_connection": (
        lambda w: G.update_connection(
            user=w.owner, connection_id=w.connection.pk, key=KEY + "-new"
        ),
        ["connection.changed"],
    ),
    "delete_connection": (
        lambda w: G.delete_connection(user=w.owner, connection_id=w.connection.pk),
        ["connection.deleted"],
    ),
    "create_mcp_server": (add_tool_server, ["mcp.created"]),
    "update_mcp_server": (
        lambda w: G.update_mcp_server(
            user=w.owner, server_id=McpServer.objects.get().pk, headers={"X-Key": KEY + "-new"}
        ),
        ["mcp.changed"],
    ),
    "delete_mcp_server": (
        lambda w: G.delete_mcp_server(user=w.owner, server_id=McpServer.objects.get().pk),
        ["mcp.deleted"],
    ),
    "refresh_mcp_server": (
        lambda w: G.refresh_mcp_server(user=w.owner, server_id=McpServer.objects.get().pk),
        ["mcp.refreshed"],
    ),
    "sign_out": (
        lambda w: G.sign_out(user=w.owner, server_id=McpServer.objects.get().pk),
        ["mcp.signed_out"],
    ),
    "approve_tool": (
        lambda w: G.approve_tool(
            user=w.owner, team_id=w.team.pk, tool_id=Tool.objects.get().pk, sha256=""
        ),
        ["tool.approved"],
    ),
    "update_tool": (
        lambda w: G.update_tool(
            user=w.owner, team_id=w.team.pk, tool_id=Tool.objects.get().pk, changes=False
        ),
        ["tool.changed"],
    ),
    "create_demo_persona": (
        lambda w: G.create_demo_persona(user=w.owner, team_id=w.team.pk),
        ["persona.created"],
    ),
    "import_personas": (
        lambda w: G.import_personas(
            user=w.owner,
            team_id=w.team.pk,
            agents=f"one: {{role: r, goal: {PROSE}}}\ntwo: {{role: r, goal: g}}",
        ),
        ["persona.created", "persona.created"],
    ),
    "create_persona": (
        lambda w: G.create_persona(
            user=w.owner,
            team_id=w.team.pk,
            name="Dal",
            role="Scribe",
            goal="Write",
            connection=w.connection.pk,
            model="m",
            instructions=PROSE,
        ),
        ["persona.created"],
    ),
    "delete_persona": (
        lambda w: G.delete_persona(user=w.owner, persona_id=w.persona.pk),
        ["persona.deleted"],
    ),
    "restore_persona": (
        lambda w: G.restore_persona(user=w.owner, persona_id=w.persona.pk, number=1),
        ["persona.restored"],
    ),
    "set_persona_enabled": (
        lambda w: G.set_persona_enabled(user=w.owner, persona_id=w.persona.pk, enabled=False),
        ["persona.switched"],
    ),
    "update_persona": (
        lambda w: G.update_persona(user=w.owner, persona_id=w.persona.pk, instructions=PROSE),
        ["persona.changed"],
    ),
    "bind_persona": (
        lambda w: R.bind_persona(user=w.owner, room_id=w.room.pk, persona_id=w.unbound.pk),
        ["room.persona_bound"],
    ),
    "mute_persona": (
        lambda w: R.mute_persona(
            user=w.owner, room_id=w.room.pk, persona_id=w.persona.pk, muted=True
        ),
        ["room.persona_muted"],
    ),
    "create_room": (
        lambda w: R.create_room(user=w.owner, team_id=w.team.pk, name="second"),
        ["room.created"],
    ),
    "create_first_room": (
        lambda w: R.create_first_room(user=w.owner, team_id=w.team.pk),
        ["persona.created", "room.created"],
    ),
    "open_direct_room": (
        lambda w: R.open_direct_room(
            user=w.owner, team_id=w.team.pk, users=[w.member.pk], personas=[w.persona.pk]
        ),
        ["room.created"],
    ),
    "put_member": (
        lambda w: R.put_member(
            user=w.owner, room_id=w.room.pk, member_id=w.member.pk, role="reader"
        ),
        ["room.member_added"],
    ),
    "remove_member": (
        lambda w: R.remove_member(user=w.owner, room_id=w.room.pk, member_id=w.member.pk),
        ["room.member_removed"],
    ),
    "unbind_persona": (
        lambda w: R.unbind_persona(user=w.owner, room_id=w.room.pk, persona_id=w.persona.pk),
        ["room.persona_unbound"],
    ),
    "update_room": (
        lambda w: R.update_room(user=w.owner, room_id=w.room.pk, name="renamed"),
        ["room.changed"],
    ),
    "delete_team": (
        lambda w: A.delete_team(user=w.owner, team_id=w.team.pk, name="Team"),
        ["team.deleted"],
    ),
    "hand_over_team": (
        lambda w: A.hand_over_team(user=w.owner, team_id=w.team.pk, member_id=w.member.pk),
        ["team.handed_over"],
    ),
    "purge_teams": (lambda w: A.purge_teams(), ["team.purged"]),
    "restore_team": (
        lambda w: A.restore_team(user=w.owner, team_id=w.team.pk),
        ["team.restored"],
    ),
    "restore_team_member": (
        lambda w: A.restore_team_member(user=w.owner, team_id=w.team.pk, member_id=w.member.pk),
        ["team.member_restored"],
    ),
    "suspend_team_member": (
        lambda w: A.suspend_team_member(user=w.owner, team_id=w.team.pk, member_id=w.member.pk),
        ["team.member_suspended"],
    ),
    "put_grants": (
        lambda w: G.put_grants(
            user=w.owner,
            persona_id=w.persona.pk,
            grants=[G.Grant(frozenset({"use"}), user=w.member.pk)],
        ),
        ["persona.granted"],
    ),
    "archive_room": (
        lambda w: R.archive_room(user=w.owner, room_id=w.room.pk),
        ["room.archived"],
    ),
    "restore_room": (
        lambda w: R.restore_room(user=w.owner, room_id=w.room.pk),
        ["room.restored"],
    ),
    "delete_room": (lambda w: R.delete_room(user=w.owner, room_id=w.room.pk), ["room.deleted"]),
    "join_room": (
        lambda w: R.join_room(user=w.member, room_id=w.room.pk),
        ["room.member_added"],
    ),
    "invite_into_rooms": (
        lambda w: R.invite_into_rooms(user=w.owner, team_id=w.team.pk, room_ids=[w.room.pk]),
        ["invitation.created"],
    ),
    "hand_over_room": (
        lambda w: R.hand_over_room(user=w.owner, room_id=w.room.pk, member_id=w.member.pk),
        ["room.handed_over"],
    ),
    "confine_persona": (
        lambda w: R.confine_persona(user=w.owner, persona_id=w.persona.pk, room_ids=[]),
        ["persona.confined"],
    ),
    "decide_call": (
        lambda w: R.decide_call(
            user=w.owner,
            call_id=ToolCall.objects.get().pk,
            decision="deny",
            arguments_sha256=ARGUMENTS_SHA256,
            note=PROSE,
        ),
        ["approval.decided"],
    ),
    "show_result": (
        lambda w: R.show_result(
            user=w.owner, run_id=Run.objects.get().pk, call_id=ToolCall.objects.get().pk
        ),
        ["call.shown"],
    ),
}

BEFORE: dict[str, Act] = {
    "decide_call": lambda w: ask(w, policy="ask"),
    "show_result": lambda w: ask(w, policy="always"),
    **dict.fromkeys(
        (
            *("update_mcp_server", "delete_mcp_server", "refresh_mcp_server", "sign_out"),
            *("approve_tool", "update_tool"),
        ),
        add_server_with_tool,
    ),
    "purge_teams": delete_team_eight_days_ago,
    "restore_team": lambda w: A.delete_team(user=w.owner, team_id=w.team.pk, name="Team"),
    "restore_team_member": lambda w: A.suspend_team_member(
        user=w.owner, team_id=w.team.pk, member_id=w.member.pk
    ),
    "restore_user": lambda w: A.suspend_user(person=w.member),
    "restore_room": lambda w: R.archive_room(user=w.owner, room_id=w.room.pk),
    "join_room": lambda w: R.update_room(user=w.owner, room_id=w.room.pk, privacy="team"),
    "hand_over_room": added,
    "revoke_token": lambda w: create_token(user=w.owner, name="script"),
    "remove_member": added,
    "restore_persona": lambda w: G.update_persona(
        user=w.owner, persona_id=w.persona.pk, instructions="Other"
    ),
}

WITHOUT = {
    "post_message": "the event log of the room has it",
    "check_may_edit": "changes nothing",
    "edit_message": "the event log of the room has it",
    "react": "the event log of the room has it",
    "vote": "an opinion of the user itself",
    "pin_message": "the event log of the room has it",
    "set_read_position": "a position of the user itself",
    "delete_message": "of other authors: tests/rooms/services/test_messages.py",
    "cancel_run": "the event log of the room has it",
    "retry_run": "the event log of the room has it",
    "cancel_round": "the event log of the room has it",
    "skip_step": "the event log of the room has it",
    "steer_run": "the event log of the room has it",
    "answer_question": "the event log of the room has it",
    "close_question": "the event log of the room has it",
    "continue_answers": "the event log of the room has it",
    "follow_thread": "changes only what the user sees",
    "mark_thread_read": "a read marker is not audited",
    "mark_read": "a read marker is not audited",
    "may_see": "reads",
    "may_show": "reads",
    "dismiss_welcome": "changes only what the user sees",
    "landing_room": "reads",
    "place_room": "changes only what the user sees",
    "add_members": "a step of create_room and put_member",
    "list_grants": "reads",
    "list_tools": "reads",
    "joinable_rooms": "reads",
    "rooms_to_join": "reads",
    "invitation_url": "reads",
    "open_invitations": "reads",
    "purge_expired": "the rows admit no one any more",
    "repair_owners": "audits each room: tests/rooms/services/test_owners.py",
    "purge_rooms": "the deletion of the room has an entry",
    "rotate_keys": "the operator encrypts the same keys with another secret",
    "find_unreadable_keys": "reads",
    "check_connection": "changes nothing",
    "check_new_connection": "changes nothing",
    "check_mcp_server": "changes nothing",
    "check_new_mcp_server": "changes nothing",
    "inspect_new_server": "changes nothing",
    "start_sign_in": "the second half has an entry",
    "finish_sign_in": "needs an authorization server: tests/mcp/test_sign_in.py",
    "check_base_url": "changes nothing",
    "build_spec": "reads",
    "get_setup_link": "reads",
    "get_invitation_by_digest": "reads",
    "is_set_up": "reads",
    "get_invitation": "reads",
    "create_setup_link": "the server prints it for the operator",
    "user_for_token": "reads",
    "users_for_tokens": "reads",
    "users_for_sessions": "reads",
}


def services() -> Iterator[str]:
    """Yield the names of the public service functions of the three apps."""
    for module in (accounts.services, agents.services, rooms.services):
        yield from (name for name in module.__all__ if isfunction(getattr(module, name)))


def test_every_service_is_listed_here() -> None:
    assert sorted(services()) == sorted([*CHANGES, *WITHOUT])


@pytest.mark.parametrize("name", CHANGES)
def test_change_writes_one_entry_without_secrets(name: str) -> None:
    act, actions = CHANGES[name]
    scenario = Scenario()
    if name in BEFORE:
        BEFORE[name](scenario)
    entries_before = set(AuditEntry.objects.values_list("pk", flat=True))

    with CaptureQueriesContext(connection) as queries:
        assert steps_after_audit(lambda: act(scenario)) == []

    written = AuditEntry.objects.exclude(pk__in=entries_before)
    assert sorted(written.values_list("action", flat=True)) == sorted(actions)
    for entry in written:
        values = f"{entry.before}{entry.after}"
        assert not any(secret in values for secret in (KEY, PROSE, "another-good-password"))
        assert not any(secret in values for secret in (scenario.link, scenario.invitation.digest))
    statements = [query["sql"] for query in queries.captured_queries]
    of_the_log = [
        q for q in statements if "accounts_auditentry" in q and not q.startswith("DELETE")
    ]
    assert len(of_the_log) == 2 * len(actions)


def test_message_writes_no_audit_entry() -> None:
    scenario = Scenario()
    before = AuditEntry.objects.count()

    post_message(user=scenario.owner, room_id=scenario.room.pk, text="Hello")

    assert AuditEntry.objects.count() == before


def test_refused_socket_command_is_audited_and_refused_read_is_not() -> None:
    scenario = Scenario()
    with pytest.raises(Exception, match="not_found"):
        execute(
            MessageSend(
                ref="1",
                room=scenario.room.pk,
                client_id=scenario.room.pk,
                text="Hello",
                reply_to=None,
                personas=None,
            ),
            scenario.newcomer,
            "en",
        )
    with pytest.raises(Exception, match="not_found"):
        execute(RoomRead(room=scenario.room.pk, seq=1), scenario.newcomer, "en")

    (entry,) = AuditEntry.objects.filter(refused=True)
    assert (entry.action, entry.actor, entry.target_id, entry.team) == (
        "message.send",
        scenario.newcomer,
        scenario.room.pk,
        None,
    )
