"""Two tenants with one object of each kind, and every user outside the room of the first."""

from dataclasses import dataclass, field
from uuid import UUID

from accounts.models import Team, TeamRole, User
from accounts.services import (
    create_team,
    create_token,
    create_user,
    invite,
    remove_team_member,
    suspend_team_member,
    suspend_user,
)
from accounts.services.teams import add_team_member
from agents.models import McpServer, Persona, Tool
from agents.services import create_demo_persona
from rooms.models import Room, Round
from rooms.services import archive_room, create_room, delete_room, post_message, update_room
from rooms.services import put_member as put_room_member
from tests.rooms.acting import ask_about_call
from tests.rooms.asking import make_question

Ids = dict[str, str]
EMOJI = "%F0%9F%91%8D"  # percent-encoded, for a URL


@dataclass
class Tenant:
    """A team with an owner, a member, a room and a persona; `ids` has one id of each kind."""

    team: Team
    owner: User
    member: User
    room: Room
    persona: Persona
    ids: Ids = field(default_factory=dict)

    def id(self, kind: str) -> UUID:
        return UUID(self.ids[kind])


def make_user(name: str) -> User:
    return create_user(name=name, email=f"{name.lower()}@example.com", verified=True)


def make_tenant(name: str) -> Tenant:
    owner, member = make_user(f"{name}Owner"), make_user(f"{name}Member")
    team = create_team(user=owner, name="Team")
    add_team_member(team, member, TeamRole.MEMBER)
    persona = create_demo_persona(user=owner, team_id=team.pk)
    room = create_room(user=owner, team_id=team.pk, name=name, personas=[persona.pk])
    put_room_member(user=owner, room_id=room.pk, member_id=member.pk, role="member")
    posted = post_message(user=owner, room_id=room.pk, text=f"CANARY-{name}")
    round_ = Round.objects.create(room=room, message=posted.message, requested_by=owner)
    call = ask_about_call(persona, posted.runs[0])
    invitation, _secret = invite(user=owner, team_id=team.pk)
    token, _secret = create_token(user=owner, name="one", scopes=["admin"])
    server = McpServer.objects.create(
        team=team, name="Files", prefix="files", url="https://api.example.com/mcp", auth="oauth"
    )
    tool = Tool.objects.create(
        team=team, server=server, key="read", name="files_read", title="Read", sha256="0" * 64
    )
    tenant = Tenant(team, owner, member, room, persona)
    tenant.ids = {
        "team": str(team.pk),
        "room": str(room.pk),
        "member": str(member.pk),
        "persona": str(persona.pk),
        "connection": str(persona.connection_id),
        "message": str(posted.message.pk),
        "run": str(posted.runs[0]),
        "question": str(make_question(posted.runs[0], owner.pk).pk),
        "round": str(round_.pk),
        "call": str(call),
        "invitation": str(invitation.pk),
        "token": str(token.pk),
        "server": str(server.pk),
        "tool": str(tool.pk),
        "number": "1",
        "emoji": EMOJI,
    }
    return tenant


def other_rooms(tenant: Tenant) -> dict[str, str]:
    """Create an open, an archived and a deleted room; return their ids by kind."""
    created = {}
    for kind in ("open", "archived", "deleted"):
        room = create_room(user=tenant.owner, team_id=tenant.team.pk, name=kind)
        created[kind] = str(room.pk)
    update_room(user=tenant.owner, room_id=UUID(created["open"]), privacy="team")
    archive_room(user=tenant.owner, room_id=UUID(created["archived"]))
    delete_room(user=tenant.owner, room_id=UUID(created["deleted"]))
    return created


@dataclass
class Principal:
    """A user with a session and a token; an `insider` is in the first team but not in its room."""

    name: str
    user: User
    token: str
    can_sign_in: bool = True
    insider: bool = False


def make_principals(victim: Tenant, own: Tenant) -> list[Principal]:
    """Return a user of each kind that is outside the victim's room."""
    return [
        _principal("stranger", own.owner),
        *(_of_role(own, role, insider=False) for role in (TeamRole.ADMIN, TeamRole.GUEST)),
        *(
            _of_role(victim, role, insider=True)
            for role in (TeamRole.ADMIN, TeamRole.MEMBER, TeamRole.GUEST)
        ),
        _staff(),
        _invited(victim),
        _former(victim),
        _suspended_in_team(victim),
        _suspended(victim),
    ]


def _principal(name: str, user: User, **flags: bool) -> Principal:
    _token, secret = create_token(user=user, name=name, scopes=["admin"])
    return Principal(name, user, secret, **flags)


def _of_role(tenant: Tenant, role: str, *, insider: bool) -> Principal:
    name = f"{role}-{'here' if insider else 'elsewhere'}"
    user = make_user(name)
    add_team_member(tenant.team, user, role)
    return _principal(name, user, insider=insider)


def _staff() -> Principal:
    user = make_user("staff")
    user.is_staff = user.is_superuser = True
    user.save(update_fields=["is_staff", "is_superuser"])
    return _principal("staff", user)


def _invited(victim: Tenant) -> Principal:
    invite(user=victim.owner, team_id=victim.team.pk, email="invited@example.com")
    return _principal("invited", make_user("invited"))


def _former(victim: Tenant) -> Principal:
    user = _insider(victim, "former")
    principal = _principal("former", user)
    remove_team_member(user=victim.owner, team_id=victim.team.pk, member_id=user.pk)
    return principal


def _suspended_in_team(victim: Tenant) -> Principal:
    user = _insider(victim, "suspended-in-team")
    principal = _principal("suspended-in-team", user)
    suspend_team_member(user=victim.owner, team_id=victim.team.pk, member_id=user.pk)
    return principal


def _suspended(victim: Tenant) -> Principal:
    user = _insider(victim, "suspended")
    principal = _principal("suspended", user, can_sign_in=False)
    suspend_user(person=user)
    return principal


def _insider(victim: Tenant, name: str) -> User:
    """Create a team admin who is in the room; the caller then takes that access away."""
    user = make_user(name)
    add_team_member(victim.team, user, TeamRole.ADMIN)
    put_room_member(user=victim.owner, room_id=victim.room.pk, member_id=user.pk, role="moderator")
    return user
