"""What people do in rooms: each function one transaction, on behalf of `user`, through the gate."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypedDict, Unpack
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import limits
from accounts.audit import audit
from accounts.errors import Conflict, Forbidden, Invalid, MaruError, NotFound, TooLarge
from accounts.gate import access_team
from accounts.models import Invitation, Team, TeamMember, User
from accounts.names import clean_line, clean_name
from accounts.services import invite
from agents.models import Persona
from agents.permissions import CHANGE, USE, access_persona, usable_by
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
    RoomArchived,
    RoomChanged,
    RoomDeleted,
)
from rooms.log import record
from rooms.markup import mentioned, render
from rooms.models import (
    AllowedRoom,
    AnswerPolicy,
    AuthorKind,
    InvitedRoom,
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
    access_open_room,
    access_room,
    access_run,
    lock_room,
    set_room_role,
)

OPEN: Final = history.OPEN
NAME_LENGTH: Final = 80
KEPT_AFTER_DELETION: Final = timedelta(days=1)
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
    bound = list(_bindable(user, team.pk).filter(pk__in=personas, confined=False))
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


class InvitationWish(TypedDict, total=False):
    """What an invitation may say beside whom it is for."""

    role: str
    lifetime: timedelta
    max_uses: int
    email: str


class RoomChanges(TypedDict, total=False):
    """What may change about a room; what is left out stays."""

    name: str
    topic: str
    privacy: str
    answer_policy: str
    default_persona: UUID | None
    archived: bool


@transaction.atomic
def update_room(*, user: User, room_id: UUID, **changes: Unpack[RoomChanges]) -> Room:
    """Change a room. Raises NotFound for a default persona that is not bound to it.

    An archived room is opened first, and one that is to be archived is changed before.
    """
    archived = changes.pop("archived", None)
    if archived is False:
        restore_room(user=user, room_id=room_id)
    room = _change(user, room_id, changes) if changes else None
    if archived:
        room = archive_room(user=user, room_id=room_id)
    return room or access_room(user, room_id, MANAGE, even_archived=True)


@transaction.atomic
def archive_room(*, user: User, room_id: UUID) -> Room:
    """Close a room for writing, and stop what is being answered; nothing where it is closed."""
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    if room.archived_at is None:
        runs.cancel_all(room, user.pk)
        room.archived_at = timezone.now()
        room.save(update_fields=["archived_at"])
        record(room, RoomArchived(room_body(room)))
        audit(user, "room.archived", room.pk, team_id=room.team_id)
    return room


@transaction.atomic
def restore_room(*, user: User, room_id: UUID) -> Room:
    """Open an archived room again; nothing where it is open."""
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    if room.archived_at is not None:
        room.archived_at = None
        room.save(update_fields=["archived_at"])
        record(room, RoomChanged(room_body(room)))
        audit(user, "room.restored", room.pk, team_id=room.team_id)
    return room


@transaction.atomic
def delete_room(*, user: User, room_id: UUID) -> None:
    """Take a room away from everybody, at once and for ever."""
    room = lock_room(user, room_id, MANAGE, even_archived=True)
    runs.cancel_all(room, user.pk)
    record(room, RoomDeleted())
    set_room_role(User.objects.filter(room_memberships__room=room), room, None)
    room.members.all().delete()
    room.bindings.all().delete()
    room.deleted_at = timezone.now()
    room.save(update_fields=["deleted_at"])
    audit(user, "room.deleted", room.pk, team_id=room.team_id, before={"name": room.name})


def purge_rooms() -> int:
    """Take away what is left of deleted rooms; return how many.

    Their rows outlive them for a while: a socket whose process missed the deletion finds it in the
    log, and a worker that was answering finds its run cancelled.
    """
    over = Room.objects.filter(deleted_at__lt=timezone.now() - KEPT_AFTER_DELETION)
    found = list(over)
    for room in found:
        room.delete()
    return len(found)


@transaction.atomic
def put_member(*, user: User, room_id: UUID, member_id: UUID, role: str) -> RoomMember:
    """Add somebody of the room's team, or change their role. The last owner stays owner."""
    room = lock_room(user, room_id, MANAGE)
    member = _member(room, member_id)
    if member is None:
        member = add_members(room, [_hold_seat(room.team_id, member_id)], role)[0]
        after = {"user": str(member_id), "role": role}
        audit(user, "room.member_added", room.pk, team_id=room.team_id, after=after)
    elif member.role != role:
        _keep_an_owner(room, member)
        before = {"user": str(member_id), "role": member.role}
        _set_role(room, member, role)
        after = {"user": str(member_id), "role": role}
        team_id = room.team_id
        audit(user, "room.member_changed", room.pk, team_id=team_id, before=before, after=after)
    return member


@transaction.atomic
def join_room(*, user: User, room_id: UUID, role: str = RoomRole.MEMBER) -> RoomMember:
    """Come into a room that is open to its team; nothing for who is in it. Nobody rises by it."""
    access_open_room(user, room_id)
    if role not in (RoomRole.MEMBER, RoomRole.READER):
        raise Forbidden(_("Whoever joins comes in as a member."))
    room = Room.objects.select_for_update(of=("self",), no_key=True).get(pk=room_id)
    access_open_room(user, room_id)  # again behind the lock, as `lock_room` does
    member = _member(room, user.pk)
    if member is None:
        member = add_members(room, [_hold_seat(room.team_id, user.pk)], role)[0]
        after = {"user": str(user.pk), "role": role}
        audit(user, "room.member_added", room.pk, team_id=room.team_id, after=after)
    return member


def joinable_rooms(user: User, team: Team) -> QuerySet[Room]:
    """Return the open rooms of the team that `user` is not in; the caller has asked the gate."""
    mine = RoomMember.objects.filter(user=user)
    return Room.objects.open_to_team().filter(team=team).exclude(pk__in=mine.values("room"))


@transaction.atomic
def invite_into_rooms(
    *, user: User, team_id: UUID, room_ids: Collection[UUID], **wish: Unpack[InvitationWish]
) -> tuple[Invitation, str]:
    """Like `accounts.services.invite`; who accepts comes into these rooms, too, as a member."""
    rooms = [access_room(user, room_id, MANAGE) for room_id in dict.fromkeys(room_ids)]
    if any(room.team_id != team_id for room in rooms):
        raise NotFound
    invitation, token = invite(user=user, team_id=team_id, **wish)
    InvitedRoom.objects.bulk_create(InvitedRoom(invitation=invitation, room=r) for r in rooms)
    return invitation, token


@transaction.atomic
def enter_invited_rooms(*, person: User, invitation: Invitation) -> None:
    """Let whoever has accepted an invitation into its rooms, where its maker still may."""
    for invited in invitation.rooms.order_by("room_id"):
        try:
            room = lock_room(invitation.invited_by, invited.room_id, MANAGE)
        except MaruError:
            continue  # no promise is kept that its maker could not make today
        add_members(room, [person], RoomRole.MEMBER)


@transaction.atomic
def hand_over_room(*, user: User, room_id: UUID, member_id: UUID) -> None:
    """Make somebody else owner and step down to member, in one go."""
    room = lock_room(user, room_id, MANAGE)
    heir = _member(room, member_id)
    own = _member(room, user.pk)
    if heir is None or own is None:
        raise NotFound
    if heir == own:
        raise Conflict(_("You are an owner already."))
    _set_role(room, heir, RoomRole.OWNER)
    _set_role(room, own, RoomRole.MEMBER)
    after = {"owner": str(member_id)}
    audit(user, "room.handed_over", room.pk, team_id=room.team_id, after=after)


@transaction.atomic
def remove_member(*, user: User, room_id: UUID, member_id: UUID) -> None:
    """Take somebody out of the room; everybody may take out themselves."""
    needs = VIEW if member_id == user.pk else MANAGE
    room = lock_room(user, room_id, needs, even_archived=True)
    member = _member(room, member_id)
    if member is None:
        raise NotFound
    _keep_an_owner(room, member)
    _take_out(room, member)
    before = {"user": str(member_id), "role": member.role}
    audit(user, "room.member_removed", room.pk, team_id=room.team_id, before=before)


@transaction.atomic
def leave_rooms(*, member: User, team_id: UUID, privacy: str | None = None) -> None:
    """Take somebody out of the rooms of a team, or of those that are private or open.

    The caller has asked the team's gate. A room whose last owner leaves goes to whoever has been in
    it longest.
    """
    for room, membership in _rooms_with(member, team_id):
        if privacy in (None, room.privacy):
            _take_out(room, membership)
            _keep_owned(room)


@transaction.atomic
def suspend_from_rooms(*, member: User, team_id: UUID) -> None:
    """Take the rooms of a team from somebody who may come back to them."""
    for room, membership in _rooms_with(member, team_id):
        membership.suspended = True
        membership.save(update_fields=["suspended"])
        set_room_role([member], room, None)
        record(room, MemberRemoved(member.pk))
        runs.end_unallowed(room)
        _keep_owned(room)


@transaction.atomic
def return_to_rooms(*, member: User, team_id: UUID) -> None:
    """Give somebody back the rooms of a team that `suspend_from_rooms` took."""
    for room, membership in _rooms_with(member, team_id):
        membership.suspended = False
        membership.save(update_fields=["suspended"])
        set_room_role([member], room, membership.role)
        record(room, MemberAdded(member_body(membership)))


@transaction.atomic
def show_member(user: User) -> None:
    """Tell the rooms of somebody how they are called and coloured now."""
    places = RoomMember.objects.active().filter(user=user).order_by("room_id")
    for room_id in list(places.values_list("room_id", flat=True)):
        room = Room.objects.select_for_update(of=("self",)).get(pk=room_id)
        member = _member(room, user.pk)
        if member is not None:
            record(room, MemberChanged(member_body(member)))


@transaction.atomic
def close_rooms(*, team: Team, by: User) -> None:
    """Stop and shut every room of a team that is deleted; nothing in them changes."""
    for room in _locked_rooms(team):
        runs.cancel_all(room, by.pk)
        record(room, RoomDeleted())


@transaction.atomic
def reopen_rooms(*, team: Team) -> None:
    """Undo `close_rooms`."""
    for room in _locked_rooms(team):
        record(room, RoomChanged(room_body(room)))


@transaction.atomic
def bind_persona(*, user: User, room_id: UUID, persona_id: UUID) -> None:
    """Let a persona of the team answer in the room; nothing if it already may."""
    room = lock_room(user, room_id, MANAGE)
    persona = _bindable(user, room.team_id).filter(pk=persona_id).first()
    if persona is None:
        raise NotFound
    if persona.confined and not persona.allowed_rooms.filter(room=room).exists():
        raise Forbidden(_("This persona is kept to other rooms."))
    if not room.bindings.filter(persona=persona).exists():
        _bind(room, persona)
        after = {"persona": str(persona_id)}
        audit(user, "room.persona_bound", room.pk, team_id=room.team_id, after=after)


@transaction.atomic
def confine_persona(
    *, user: User, persona_id: UUID, room_ids: Collection[UUID] | None
) -> list[UUID]:
    """Keep a persona to these rooms, and take it out of all others; None lets it into any.

    Raises NotFound for a room that `user` is not in.
    """
    persona = access_persona(user, persona_id, CHANGE)
    rooms = Room.objects.visible_to(user).filter(team=persona.team_id, pk__in=room_ids or ())
    allowed = sorted(rooms.values_list("pk", flat=True))
    if len(allowed) != len(set(room_ids or ())):
        raise NotFound
    persona.confined = room_ids is not None
    persona.save(update_fields=["confined"])
    persona.allowed_rooms.all().delete()
    AllowedRoom.objects.bulk_create(AllowedRoom(persona=persona, room_id=pk) for pk in allowed)
    if persona.confined:
        for room in lock_rooms_of(persona):
            if room.pk not in allowed:
                runs.abandon(room, persona)
                unbind(room, persona.pk)
    after = {"rooms": None if room_ids is None else [str(room_id) for room_id in allowed]}
    audit(user, "persona.confined", persona.pk, team_id=persona.team_id, after=after)
    return allowed


@transaction.atomic
def unbind_persona(*, user: User, room_id: UUID, persona_id: UUID) -> None:
    """Take a persona out of the room."""
    room = lock_room(user, room_id, MANAGE)
    if not room.bindings.filter(persona_id=persona_id).exists():
        raise NotFound
    unbind(room, persona_id)
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
    NotFound (room, reply_to or persona), Forbidden, RateLimited, Invalid (blank) or TooLarge.
    """
    room = lock_room(user, room_id, POST)
    if client_id is not None:
        earlier = room.messages.filter(user=user, client_id=client_id).first()
        if earlier is not None:
            return Posted(earlier, list(earlier.runs.order_by("pk").values_list("pk", flat=True)))
    limits.spend(limits.SEND, user, room_id=room.pk, team_id=room.team_id)
    check_text(text)
    answered = room.messages.filter(pk=reply_to).first() if reply_to else None
    if reply_to and answered is None:
        raise NotFound
    handles = history.handles_in(room, text)
    asked = answering.personas_asked(room, user, mentioned(text, handles), answered, personas)
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


def check_text(text: str) -> None:
    """Raise unless a message may have this text."""
    if not text.strip() or "\x00" in text:
        raise Invalid(_("Write something first."))
    if len(text) > TEXT_LIMIT:
        raise TooLarge(_("A message has at most 16,000 characters. Shorten it or send two."))


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
    access_persona(user, run.persona_id, USE)
    if run.state not in RETRYABLE or run.message.deleted_at or again.exists():
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


def _change(user: User, room_id: UUID, changes: RoomChanges) -> Room:
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


def _hold_seat(team_id: UUID, user_id: UUID) -> User:
    """Return somebody of the team, who stays in it until the transaction ends; else NotFound.

    A removal takes the seat before it looks for rooms: one of the two sees the other.
    """
    seats = TeamMember.objects.select_for_update(of=("self",), no_key=True).select_related("user")
    active = seats.filter(suspended_at=None, user__is_active=True)
    seat = active.filter(team=team_id, user_id=user_id).first()
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


def _lock_run(user: User, run_id: UUID, asker_needs: str) -> tuple[Room, Run]:
    """Lock a run and its room: the asker needs `asker_needs` there, anybody else to moderate."""
    asked = access_run(user, run_id, VIEW)
    needs = asker_needs if asked.requested_by_id == user.pk else MODERATE
    room = lock_room(user, asked.room_id, needs)
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


def _member(room: Room, user_id: UUID) -> RoomMember | None:
    return room.members.active().select_related("user").filter(user_id=user_id).first()


def _set_role(room: Room, member: RoomMember, role: str) -> None:
    member.role = role
    member.save(update_fields=["role"])
    set_room_role([member.user], room, role)
    record(room, MemberChanged(member_body(member)))
    runs.end_unallowed(room)


def _take_out(room: Room, member: RoomMember) -> None:
    """Whoever is suspended has been taken out of the log already."""
    member.delete()
    set_room_role([member.user], room, None)
    if not member.suspended:
        record(room, MemberRemoved(member.user_id))
        runs.end_unallowed(room)


def _rooms_with(user: User, team_id: UUID) -> Iterator[tuple[Room, RoomMember]]:
    """Yield the rooms of a team that somebody has a place in, each locked, with that place."""
    places = RoomMember.objects.filter(user=user, room__team=team_id).order_by("room_id")
    for room_id in list(places.values_list("room_id", flat=True)):
        room = Room.objects.select_for_update(of=("self",)).get(pk=room_id)
        member = room.members.select_related("user").filter(user=user).first()
        if member is not None:
            yield room, member


def _locked_rooms(team: Team) -> list[Room]:
    """Lock the rooms of a team, in the order in which everybody locks several of them."""
    rooms = Room.objects.select_for_update(of=("self",)).filter(team=team, deleted_at=None)
    return list(rooms.order_by("pk"))


def _keep_owned(room: Room) -> None:
    """Give a room without an owner to whoever has been in it longest."""
    members = room.members.active().select_related("user")
    heir = members.order_by("joined_at", "pk").first()
    if heir is not None and not members.filter(role=RoomRole.OWNER).exists():
        _set_role(room, heir, RoomRole.OWNER)


def _keep_an_owner(room: Room, member: RoomMember) -> None:
    owners = room.members.active().filter(role=RoomRole.OWNER).exclude(pk=member.pk)
    if member.role == RoomRole.OWNER and not owners.exists():
        raise Conflict(_("A room needs an owner. Make somebody else owner first."))


def lock_rooms_of(persona: Persona) -> list[Room]:
    """Lock the rooms of a persona, always in the same order, so that two changes cannot cross."""
    rooms = Room.objects.select_for_update(of=("self",))
    return list(rooms.filter(bindings__persona=persona).order_by("pk"))


def _bindable(user: User, team_id: UUID) -> QuerySet[Persona]:
    return usable_by(user, Persona.objects.filter(team=team_id))


def unbind(room: Room, persona_id: UUID) -> None:
    """Take a persona out of a room that the transaction has locked, after its checks."""
    room.bindings.filter(persona_id=persona_id).delete()
    if room.default_persona_id == persona_id:
        room.default_persona = None
        room.save(update_fields=["default_persona"])
        record(room, RoomChanged(room_body(room)))
    record(room, PersonaUnbound(persona_id))
    runs.end_unallowed(room)


def _bind(room: Room, persona: Persona) -> None:
    RoomPersona.objects.create(room=room, persona=persona)
    record(room, PersonaBound(persona_body(persona)))
