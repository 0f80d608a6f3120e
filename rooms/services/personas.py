"""Binds personas to rooms, unbinds them, and confines them to rooms."""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.audit.log import audit
from accounts.errors import Conflict, Forbidden, NotFound
from accounts.models import User
from agents.models import Persona
from agents.permissions import CHANGE, lock_persona, usable_by
from rooms.event_log import record
from rooms.models import AllowedRoom, Room, RoomPersona
from rooms.permissions import MANAGE, access_room, lock_room
from rooms.protocol.events import PersonaBound, PersonaUnbound, RoomChanged
from rooms.protocol.failures import PERSONA_MUTED, PERSONA_UNBOUND
from rooms.protocol.serializers import persona_body, room_body
from rooms.runs.crews import round_steps
from rooms.runs.ending import fail_runs_of_personas, fail_unauthorized_runs

MAX_BOUND_PERSONAS: Final = 100
"""The personas of a room: each is in the snapshot that every client gets."""


@transaction.atomic
def bind_persona(*, user: User, room_id: UUID, persona_id: UUID, muted: bool | None = None) -> None:
    """Bind a persona of the team to the room; a bound persona stays bound.

    `muted` mutes or unmutes it there; None changes nothing. The right to use the persona is needed
    only for a persona that is not bound. Raises Forbidden if the persona is confined to other
    rooms.
    """
    here = access_room(user, room_id, MANAGE)
    if here.bindings.filter(persona_id=persona_id).exists():
        if muted is not None:
            mute_persona(user=user, room_id=room_id, persona_id=persona_id, muted=muted)
        return
    team_id = here.team_id
    personas = lock_personas(bindable(user, team_id).filter(pk=persona_id))
    room = lock_room(user, room_id, MANAGE)
    if not personas:
        raise NotFound
    persona = personas[0]
    if persona.confined and not persona.allowed_rooms.filter(room=room).exists():
        raise Forbidden(
            _("This persona can only be used in other rooms. Choose another persona."),
            team_id=team_id,
        )
    if not room.bindings.filter(persona=persona).exists():
        if room.bindings.count() >= MAX_BOUND_PERSONAS:
            raise Conflict(_("This room has 100 personas. Remove one before you add another."))
        bind(room, [persona])
        after = {"persona": str(persona_id)}
        audit(user, "room.persona_bound", room.pk, team_id=team_id, after=after)
    if muted is not None:
        _mute(user, room, persona_id, muted=muted)


def rooms_to_join(user: User, persona: Persona) -> QuerySet[Room]:
    """Return the rooms to which `user` may bind a persona that is not in them yet, by name."""
    rooms = Room.objects.managed_by(user).filter(team=persona.team_id, archived_at=None)
    if persona.confined:
        rooms = rooms.filter(pk__in=persona.allowed_rooms.values("room"))
    return rooms.exclude(bindings__persona=persona).order_by("name", "pk")


@transaction.atomic
def mute_persona(*, user: User, room_id: UUID, persona_id: UUID, muted: bool) -> None:
    """Mute a persona in the room, or unmute it. Raises NotFound if it is not bound.

    A muted persona answers only messages that name or mention it.
    """
    room = lock_room(user, room_id, MANAGE)
    if not room.bindings.filter(persona_id=persona_id).exists():
        raise NotFound
    _mute(user, room, persona_id, muted=muted)


def _mute(user: User, room: Room, persona_id: UUID, *, muted: bool) -> None:
    others = [each for each in room.muted_personas if each != str(persona_id)]
    if muted == (len(others) < len(room.muted_personas)):
        return
    room.muted_personas = [*others, str(persona_id)] if muted else others
    room.save(update_fields=["muted_personas"])
    record(room, RoomChanged(room_body(room)))
    if muted:
        round_steps.leave_out(room, persona_id, PERSONA_MUTED)
    action = "room.persona_muted" if muted else "room.persona_unmuted"
    audit(user, action, room.pk, team_id=room.team_id, after={"persona": str(persona_id)})


@transaction.atomic
def confine_persona(
    *, user: User, persona_id: UUID, room_ids: Collection[UUID] | None
) -> list[UUID]:
    """Allow a persona in these rooms only and unbind it from all others; None allows all rooms.

    Returns the ids of the allowed rooms. Raises NotFound for a room that `user` is not in.
    """
    persona = lock_persona(user, persona_id, CHANGE)
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
                fail_runs_of_personas(room, [persona], PERSONA_UNBOUND)
                unbind(room, persona.pk)
    after = {"rooms": None if room_ids is None else [str(room_id) for room_id in allowed]}
    audit(user, "persona.confined", persona.pk, team_id=persona.team_id, after=after)
    return allowed


@transaction.atomic
def unbind_persona(*, user: User, room_id: UUID, persona_id: UUID) -> None:
    """Unbind a persona from the room. Raises NotFound if it is not bound."""
    room = lock_room(user, room_id, MANAGE)
    if not room.bindings.filter(persona_id=persona_id).exists():
        raise NotFound
    unbind(room, persona_id)
    before = {"persona": str(persona_id)}
    audit(user, "room.persona_unbound", room.pk, team_id=room.team_id, before=before)


def lock_rooms_of(*personas: Persona) -> list[Room]:
    """Lock the rooms of personas, ordered by id, so that two transactions cannot deadlock."""
    bound = RoomPersona.objects.filter(persona__in=personas).values("room")
    rooms = Room.objects.locked()
    return list(rooms.filter(pk__in=bound).order_by("pk"))


def bindable(user: User, team_id: UUID) -> QuerySet[Persona]:
    """Return the personas of a team that `user` may bind to a room."""
    return usable_by(user, Persona.objects.filter(team=team_id))


def lock_personas(personas: QuerySet[Persona]) -> list[Persona]:
    """Lock personas. Every caller locks personas before rooms.

    The lock prevents that a persona is bound to a room while another transaction confines or
    deletes it. The query runs again under the lock, because the rights that it asks for may have
    ended while this transaction waited.
    """
    locking = personas.select_for_update(of=("self",), no_key=True).order_by("pk")
    list(locking.values_list("pk"))
    return list(personas.order_by("pk"))


def unbind(room: Room, persona_id: UUID) -> None:
    """Unbind a persona from a room that the caller has locked, after its checks."""
    room.bindings.filter(persona_id=persona_id).delete()
    is_muted = str(persona_id) in room.muted_personas
    if persona_id in (room.default_persona_id, room.lead_id) or is_muted:
        if room.default_persona_id == persona_id:
            room.default_persona = None
        if room.lead_id == persona_id:
            room.lead = None
        room.muted_personas = [each for each in room.muted_personas if each != str(persona_id)]
        room.save(update_fields=["default_persona", "lead", "muted_personas"])
        record(room, RoomChanged(room_body(room)))
    record(room, PersonaUnbound(persona_id))
    fail_unauthorized_runs(room, Q(persona=persona_id))


def bind(room: Room, personas: Sequence[Persona]) -> None:
    """Bind personas to a room; the caller has locked both, and has checked the permission."""
    if not personas:
        return
    RoomPersona.objects.bulk_create(RoomPersona(room=room, persona=each) for each in personas)
    record(room, *(PersonaBound(persona_body(persona)) for persona in personas))
