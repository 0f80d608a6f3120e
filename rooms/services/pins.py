"""Pins messages in their room, and removes pins."""

from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.errors import Conflict
from accounts.models import User
from rooms import queries
from rooms.event_log import record
from rooms.permissions import POST, lock_message
from rooms.protocol.events import MessageUpdated
from rooms.services.messages import check_not_deleted

MAX_PINS: Final = 50
"""The maximum number of pinned messages in a room: the state of the room contains all of them."""


@transaction.atomic
def pin_message(*, user: User, message_id: UUID, on: bool) -> None:
    """Pin a message, or remove its pin; no event is recorded if nothing changes.

    Raises Conflict for a deleted message, and for more than MAX_PINS pins in a room.
    """
    room, message = lock_message(user, message_id, POST)
    check_not_deleted(message)
    if on == (message.pinned_at is not None):
        return
    rate_limits.consume(rate_limits.REACT, user, room_id=room.pk, team_id=room.team_id)
    if on and room.messages.filter(pinned_seq__isnull=False).count() >= MAX_PINS:
        raise Conflict(_("This room has 50 pinned messages. Remove a pin first."))
    message.pinned_seq = room.last_seq + 1 if on else None
    message.pinned_at = timezone.now() if on else None
    message.pinned_by = user if on else None
    message.save(update_fields=["pinned_seq", "pinned_at", "pinned_by"])
    (body,) = queries.bodies([message])
    record(room, MessageUpdated(message=body))
