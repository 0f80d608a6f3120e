"""Direct rooms: private rooms of exactly these users and personas of a team.

The same set always gets the same room. All users are ordinary members, so no
user may rename it, add or remove members and personas, or leave it. To talk with one more,
a user opens the room of the larger set. A user who leaves the team leaves the room; then the set
gets a new room, because the user must not come back to what was said meanwhile.
"""

import hashlib
from collections.abc import Collection
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.errors import Conflict, Invalid, NotFound
from accounts.models import User
from accounts.permissions import CREATE_ROOM, access_team
from agents.models import Persona
from rooms.models import AnswerPolicy, Room, RoomRole
from rooms.services.people.members import add_members, lock_team_members
from rooms.services.personas import bind, bindable, lock_personas

MAX_OTHERS: Final = 20
MAX_OPENED: Final = 1_000
"""The direct rooms that one user may open in a team: no user may delete one."""


@transaction.atomic
def open_direct_room(
    *, user: User, team_id: UUID, users: Collection[UUID], personas: Collection[UUID]
) -> Room:
    """Return the direct room of `user`, `users` and `personas`; create it at the first call.

    Raises NotFound for users and personas of another team, and for personas that `user` may not
    use in any room; Invalid for an empty set or more than MAX_OTHERS; Conflict for a new room of a
    user who has opened MAX_OPENED. New rooms are rate-limited.
    """
    team = access_team(user, team_id, CREATE_ROOM)
    others = sorted({*users} - {user.pk})
    _check_size(len(others) + len({*personas}))
    bound = lock_personas(bindable(user, team.pk).filter(pk__in=personas, confined=False))
    if len(bound) != len({*personas}):
        raise NotFound
    people = lock_team_members(team.pk, [user.pk, *others])
    access_team(user, team_id, CREATE_ROOM)  # again under the lock, as `lock_room` does
    key = _key([person.pk for person in people], [persona.pk for persona in bound])
    # The locks of the members let only one transaction at a time look for this set.
    room = Room.objects.locked().filter(team=team, direct_key=key).first()
    if room is not None:
        _bind_again(user, room, bound)
        return room
    rate_limits.consume(rate_limits.DIRECT, user)
    if Room.objects.filter(team=team, opened_by=user).count() >= MAX_OPENED:
        raise Conflict(_("You have opened 1,000 conversations. Use one of them, or create a room."))
    policy = AnswerPolicy.MENTION if others else AnswerPolicy.DEFAULT
    room = Room.objects.create(
        team=team, direct=True, direct_key=key, opened_by=user, answer_policy=policy
    )
    add_members(room, people, RoomRole.MEMBER)
    bind(room, bound)
    after = {
        "direct": True,
        "personas": [str(persona.pk) for persona in bound],
        "people": [str(person) for person in others],
    }
    audit(user, "room.created", room.pk, team_id=team.pk, after=after)
    return room


def _bind_again(user: User, room: Room, personas: Collection[Persona]) -> None:
    """Bind those of the room's personas that were unbound when they were confined."""
    known = {*room.bindings.values_list("persona", flat=True)}
    missing = [persona for persona in personas if persona.pk not in known]
    bind(room, missing)
    for persona in missing:
        after = {"persona": str(persona.pk)}
        audit(user, "room.persona_bound", room.pk, team_id=room.team_id, after=after)


def _check_size(others: int) -> None:
    if not others:
        raise Invalid(fields={"users": _("Choose a person or a persona.")})
    if others > MAX_OTHERS:
        raise Invalid(fields={"users": _("Choose at most 20 people and personas.")})


def _key(users: Collection[UUID], personas: Collection[UUID]) -> str:
    """Return the same key for the same set of users and personas."""
    ids = [*(f"user {each}" for each in sorted(users)), *(f"persona {p}" for p in sorted(personas))]
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
