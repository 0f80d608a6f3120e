"""What people do in rooms: each function one transaction, on behalf of `user`, through the gate."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict, Unpack
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts.audit import audit
from accounts.errors import Conflict, Invalid, NotFound, TooLarge
from accounts.gate import access_team
from accounts.models import TeamMember, User
from accounts.names import clean_line, clean_name
from agents.models import Persona
from agents.services import create_demo_persona
from rooms import answering, history, runs
from rooms.bodies import member_body, message_body, persona_body, room_body
from rooms.events import (
    TEXT_LIMIT,
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    MessageCreated,
    PersonaBound,
    PersonaUnbound,
    RoomChanged,
)
from rooms.log import record
from rooms.markup import mentioned, render
from rooms.models import (
    AnswerPolicy,
    AuthorKind,
    Message,
    Privacy,
    Room,
    RoomMember,
    RoomPersona,
    RoomRole,
    Run,
    RunState,
)
from rooms.permissions import (
    MANAGE,
    MODERATE,
    POST,
    VIEW,
    access_room,
    lock_room,
    set_room_role,
)

OPEN: Final = history.OPEN
NAME_LENGTH: Final = 80
RETRYABLE: Final = (RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a message: its seq in the room and the runs that answer it."""

    message: Message
    runs: list[UUID]


@transaction.atomic
def create_room(
    *,
    user: User,
    team_id: UUID,
    name: str,
    topic: str = "",
    privacy: str = Privacy.PRIVATE,
    answer_policy: str = AnswerPolicy.DEFAULT,
    personas: Collection[UUID] = (),
    default_persona: UUID | None = None,
) -> Room:
    """Make a room that `user` owns. Raises NotFound for a persona of another team."""
    team = access_team(user, team_id, "create_room")
    bound = list(Persona.objects.filter(team=team, pk__in=personas))
    if len(bound) != len(set(personas)) or (default_persona and default_persona not in personas):
        raise NotFound
    _hold_seat(team.pk, user.pk)
    room = Room.objects.create(
        team=team,
        name=_clean_name(name),
        topic=clean_line(topic),
        privacy=privacy,
        answer_policy=answer_policy,
        default_persona_id=default_persona,
    )
    add_members(room, [user], RoomRole.OWNER)
    for persona in sorted(bound, key=lambda persona: list(personas).index(persona.pk)):
        _bind(room, persona)
    after = {"name": room.name, "privacy": privacy, "personas": [str(each.pk) for each in bound]}
    audit(user, "room.created", room.pk, team_id=team.pk, after=after)
    return room


@transaction.atomic
def open_team(*, user: User, team_id: UUID) -> Room:
    """Give a new team its first room, with a persona that answers without any key."""
    persona = create_demo_persona(user=user, team_id=team_id)
    return create_room(user=user, team_id=team_id, name=str(_("lobby")), personas=[persona.pk])


class RoomChanges(TypedDict, total=False):
    """What may change about a room; what is left out stays."""

    name: str
    topic: str
    privacy: str
    answer_policy: str
    default_persona: UUID | None


@transaction.atomic
def update_room(*, user: User, room_id: UUID, **changes: Unpack[RoomChanges]) -> Room:
    """Change a room. Raises NotFound for a default persona that is not bound to it."""
    room = lock_room(user, room_id, MANAGE)
    persona_id = changes.get("default_persona")
    if persona_id and not room.bindings.filter(persona_id=persona_id).exists():
        raise NotFound
    if "name" in changes:
        changes["name"] = _clean_name(changes["name"])
    if "topic" in changes:
        changes["topic"] = clean_line(changes["topic"])
    before = _facts(room, changes)
    for name, value in changes.items():
        setattr(room, "default_persona_id" if name == "default_persona" else name, value)
    room.save(update_fields=list(changes))
    record(room, RoomChanged(room_body(room)))
    after = _facts(room, changes)
    audit(user, "room.changed", room.pk, team_id=room.team_id, before=before, after=after)
    return room


@transaction.atomic
def put_member(*, user: User, room_id: UUID, member_id: UUID, role: str) -> RoomMember:
    """Add somebody of the room's team, or change their role. The last owner stays owner."""
    room = lock_room(user, room_id, MANAGE)
    member = room.members.select_related("user").filter(user_id=member_id).first()
    if member is None:
        member = add_members(room, [_hold_seat(room.team_id, member_id)], role)[0]
        after = {"user": str(member_id), "role": role}
        audit(user, "room.member_added", room.pk, team_id=room.team_id, after=after)
    elif member.role != role:
        _keep_an_owner(room, member)
        before = {"user": str(member_id), "role": member.role}
        member.role = role
        member.save(update_fields=["role"])
        set_room_role([member.user], room, role)
        record(room, MemberChanged(member_body(member)))
        runs.end_unallowed(room)
        after = {"user": str(member_id), "role": role}
        team_id = room.team_id
        audit(user, "room.member_changed", room.pk, team_id=team_id, before=before, after=after)
    return member


@transaction.atomic
def remove_member(*, user: User, room_id: UUID, member_id: UUID) -> None:
    """Take somebody out of the room; everybody may take out themselves."""
    room = lock_room(user, room_id, VIEW if member_id == user.pk else MANAGE)
    member = room.members.select_related("user").filter(user_id=member_id).first()
    if member is None:
        raise NotFound
    _keep_an_owner(room, member)
    _take_out(room, member.user)
    before = {"user": str(member_id), "role": member.role}
    audit(user, "room.member_removed", room.pk, team_id=room.team_id, before=before)


@transaction.atomic
def leave_rooms_of_team(*, member: User, team_id: UUID) -> None:
    """Take somebody who leaves a team out of all its rooms; the caller has asked the team's gate.

    A room whose last owner leaves goes to whoever has been in it longest.
    """
    memberships = RoomMember.objects.filter(user=member, room__team=team_id)
    for room_id in list(memberships.order_by("room_id").values_list("room_id", flat=True)):
        room = Room.objects.select_for_update().get(pk=room_id)
        _take_out(room, member)
        if not room.members.filter(role=RoomRole.OWNER).exists():
            _hand_over(room)


@transaction.atomic
def bind_persona(*, user: User, room_id: UUID, persona_id: UUID) -> None:
    """Let a persona of the team answer in the room; nothing if it already may."""
    room = lock_room(user, room_id, MANAGE)
    persona = Persona.objects.filter(pk=persona_id, team=room.team_id).first()
    if persona is None:
        raise NotFound
    if not room.bindings.filter(persona=persona).exists():
        _bind(room, persona)
        after = {"persona": str(persona_id)}
        audit(user, "room.persona_bound", room.pk, team_id=room.team_id, after=after)


@transaction.atomic
def unbind_persona(*, user: User, room_id: UUID, persona_id: UUID) -> None:
    """Take a persona out of the room."""
    room = lock_room(user, room_id, MANAGE)
    if not room.bindings.filter(persona_id=persona_id).delete()[0]:
        raise NotFound
    if room.default_persona_id == persona_id:
        room.default_persona = None
        room.save(update_fields=["default_persona"])
        record(room, RoomChanged(room_body(room)))
    record(room, PersonaUnbound(persona_id))
    runs.end_unallowed(room)
    before = {"persona": str(persona_id)}
    audit(user, "room.persona_unbound", room.pk, team_id=room.team_id, before=before)


@transaction.atomic
def post_message(
    *,
    user: User,
    room_id: UUID,
    text: str,
    client_id: UUID | None = None,
    reply_to: UUID | None = None,
    personas: Collection[UUID] | None = None,
) -> Posted:
    """Say something in a room and put the answers to it in line.

    The same `client_id` of the same user in the same room is one message, however often it comes.
    `personas` None leaves it to the room who answers; an empty collection asks nobody. Raises
    NotFound (room, reply_to or persona), Forbidden, Invalid (blank) or TooLarge.
    """
    room = lock_room(user, room_id, POST)
    if client_id is not None:
        earlier = room.messages.filter(user=user, client_id=client_id).first()
        if earlier is not None:
            return Posted(earlier, list(earlier.runs.order_by("pk").values_list("pk", flat=True)))
    _check_text(text)
    answered = room.messages.filter(pk=reply_to).first() if reply_to else None
    if reply_to and answered is None:
        raise NotFound
    handles = history.handles_in(room, text)
    asked = answering.personas_asked(room, mentioned(text, handles), answered, personas)
    message = Message.objects.create(
        room=room,
        seq=room.last_seq + 1,
        user=user,
        author_kind=AuthorKind.USER,
        author_name=user.name,
        author_handle=user.handle,
        text=text,
        html=render(text, handles),
        reply_to=answered,
        client_id=client_id,
    )
    queued, events = runs.queue(room, message, asked, user)
    record(room, MessageCreated(message_body(message)), *events)
    RoomMember.objects.filter(room=room, user=user).update(read_seq=message.seq)
    return Posted(message, [run.pk for run in queued])


@transaction.atomic
def cancel_run(*, user: User, run_id: UUID) -> Run:
    """Stop an answer: whoever asked may, and moderators. A run that has ended stays as it is."""
    room, run = _lock_run(user, run_id, VIEW)
    if run.state in OPEN:
        runs.cancel(room, run, user.pk)
    return run


@transaction.atomic
def retry_run(*, user: User, run_id: UUID) -> Run:
    """Ask again what failed or was stopped; returns a new run on the same message."""
    room, run = _lock_run(user, run_id, POST)
    again = run.message.runs.filter(persona=run.persona, state__in=OPEN)
    if run.state not in RETRYABLE or again.exists():
        raise Conflict(_("This answer cannot be asked for again now."))
    (new,), events = runs.queue(room, run.message, [run.persona], user)
    record(room, *events)
    return new


@transaction.atomic
def mark_read(*, user: User, room_id: UUID, seq: int) -> None:
    """Remember how far `user` has read; it never moves back, nor beyond the end of the log."""
    room = access_room(user, room_id, VIEW)
    read = min(seq, room.last_seq)
    RoomMember.objects.filter(room=room, user=user, read_seq__lt=read).update(read_seq=read)


def _hold_seat(team_id: UUID, user_id: UUID) -> User:
    """Return somebody of the team, who stays in it until the transaction ends; else NotFound.

    A removal takes the seat before it looks for rooms: one of the two sees the other.
    """
    seats = TeamMember.objects.select_for_update(of=("self",), no_key=True).select_related("user")
    seat = seats.filter(team=team_id, user_id=user_id, user__is_active=True).first()
    if seat is None:
        raise NotFound
    return seat.user


def _facts(room: Room, changes: RoomChanges) -> dict[str, object]:
    """What the audit tells of those things of a room that change."""
    facts: dict[str, object] = {}
    for name in changes:
        value = getattr(room, "default_persona_id" if name == "default_persona" else name)
        facts[name] = None if value is None else str(value)
    return facts


def _clean_name(name: str) -> str:
    clean = clean_name(name, longest=NAME_LENGTH)
    if not clean:
        raise Invalid(fields={"name": _("Write a name that can be seen.")})
    return clean


def _check_text(text: str) -> None:
    if not text.strip() or "\x00" in text:
        raise Invalid(_("Write something first."))
    if len(text) > TEXT_LIMIT:
        raise TooLarge(_("A message has at most 16,000 characters. Shorten it or send two."))


def _lock_run(user: User, run_id: UUID, asker_needs: str) -> tuple[Room, Run]:
    """Lock a run and its room: the asker needs `asker_needs` there, anybody else to moderate."""
    asked = Run.objects.filter(pk=run_id).values_list("room_id", "requested_by_id").first()
    # No room has this id: a run that is not there costs as many queries as a foreign one.
    room_id, asker_id = asked or (run_id, None)
    room = lock_room(user, room_id, asker_needs if asker_id == user.pk else MODERATE)
    run = Run.objects.select_for_update(of=("self",)).select_related("answer").get(pk=run_id)
    return room, run


def add_members(room: Room, users: Sequence[User], role: str) -> list[RoomMember]:
    """Add people of the room's team, within the caller's transaction and after its checks."""
    members = RoomMember.objects.bulk_create(
        [RoomMember(room=room, user=user, role=role, read_seq=room.last_seq) for user in users]
    )
    set_room_role(users, room, role)
    record(room, *(MemberAdded(member_body(member)) for member in members))
    return members


def _take_out(room: Room, user: User) -> None:
    room.members.filter(user=user).delete()
    set_room_role([user], room, None)
    record(room, MemberRemoved(user.pk))
    runs.end_unallowed(room)


def _hand_over(room: Room) -> None:
    heir = room.members.select_related("user").order_by("joined_at", "pk").first()
    if heir is None:
        return
    heir.role = RoomRole.OWNER
    heir.save(update_fields=["role"])
    set_room_role([heir.user], room, RoomRole.OWNER)
    record(room, MemberChanged(member_body(heir)))


def _keep_an_owner(room: Room, member: RoomMember) -> None:
    owners = room.members.filter(role=RoomRole.OWNER).exclude(pk=member.pk)
    if member.role == RoomRole.OWNER and not owners.exists():
        raise Conflict(_("A room needs an owner. Make somebody else owner first."))


def _bind(room: Room, persona: Persona) -> None:
    RoomPersona.objects.create(room=room, persona=persona)
    record(room, PersonaBound(persona_body(persona)))
