"""Votes on the answers of personas."""

from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.errors import Conflict
from accounts.models import User
from rooms import queries
from rooms.event_log import record
from rooms.models import AuthorKind, Message, MessageStatus
from rooms.permissions import POST, lock_message
from rooms.protocol.events import MessageUpdated
from rooms.services.messages import check_not_deleted


@transaction.atomic
def vote(*, user: User, message_id: UUID, value: int, note: str = "") -> Message:
    """Set the vote of `user` on an answer: 1, -1, or 0 for none; `note` replaces an earlier one.

    No event is recorded if the numbers of votes stay the same. Raises Conflict for a deleted
    message, and for a vote on a message of a user or on an answer that is streaming.
    """
    room, message = lock_message(user, message_id, POST)
    check_not_deleted(message)
    is_answer = message.author_kind == AuthorKind.PERSONA
    if value and (not is_answer or message.status == MessageStatus.STREAMING):
        raise Conflict(_("You can vote on complete answers of personas."))
    rate_limits.consume(rate_limits.REACT, user, room_id=room.pk, team_id=room.team_id)
    if value:
        changes = {"value": value, "note": note.strip(), "persona_id": message.persona_id}
        message.votes.update_or_create(user=user, defaults=changes)
    else:
        message.votes.filter(user=user).delete()
    before = (message.votes_up, message.votes_down)
    message.votes_up = message.votes.filter(value=1).count()
    message.votes_down = message.votes.filter(value=-1).count()
    if before != (message.votes_up, message.votes_down):
        message.save(update_fields=["votes_up", "votes_down"])
        (body,) = queries.bodies([message])
        record(room, MessageUpdated(message=body))
    return message
