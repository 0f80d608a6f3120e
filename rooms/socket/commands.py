"""What each command does: one service call, in a thread, in the language of whoever asks."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import translation

from accounts import rate_limits
from accounts.audit.log import audit_refusal
from accounts.errors import MaruError
from accounts.models import User
from accounts.scopes import WRITE, check_scope
from rooms import services
from rooms.fanout import publisher
from rooms.fanout.presence import LARGE_ROOM
from rooms.permissions import POST, access_room
from rooms.protocol.commands import (
    Command,
    MemberType,
    MessageDelete,
    MessageEdit,
    MessageReact,
    MessageSend,
    RoomRead,
    RunCancel,
    RunRetry,
)
from rooms.protocol.events import MemberTyping, encode


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a command, and up to where its room must have been shown before it is told."""

    result: dict[str, Any]
    shown: tuple[UUID, int] | None = None


def carry_out(command: Command, user: User, language: str) -> Done:
    """Carry out a command that changes something; raises MaruError where it is refused.

    Who tried what they may not is written down, for what stays: not for what was read and typed.
    """
    try:
        return _carry_out(command, user, language)
    except MaruError as error:
        if not isinstance(command, RoomRead | MemberType):
            kind = next(name for name in ("room", "run", "message") if hasattr(command, name))
            tag, thing = str(command.__struct_config__.tag), getattr(command, kind)
            audit_refusal(user, tag, error, target_kind=kind, target_id=thing)
        raise


def _carry_out(command: Command, user: User, language: str) -> Done:
    with translation.override(language):
        check_scope(user.scope, WRITE)  # as REST does for whatever changes something
        rate_limits.consume(rate_limits.COMMAND, user)
        match command:
            case MessageSend():
                return _send(command, user)
            case MessageEdit() | MessageDelete() | MessageReact():
                _change(command, user)
            case RunCancel(run=run_id):
                run = services.cancel_run(user=user, run_id=run_id)
                return Done({}, shown=(run.room_id, run.room.last_seq))
            case RunRetry(run=run_id):
                return Done({"run": services.retry_run(user=user, run_id=run_id).pk})
            case RoomRead(room=room_id, seq=seq):
                services.mark_read(user=user, room_id=room_id, seq=seq)
            case MemberType(room=room_id):
                room = access_room(user, room_id, POST)
                if room.members.count() > LARGE_ROOM:
                    return Done({})  # to tell each of the many of each of the many is too much
                typing = MemberTyping(room=room_id, user=user.pk)
                publisher.publish(publisher.Ephemeral(room=room_id, frame=encode(typing)))
            case _:
                raise TypeError(type(command))
        return Done({})


def _send(command: MessageSend, user: User) -> Done:
    posted = services.post_message(
        user=user,
        room_id=command.room,
        text=command.text,
        client_id=command.client_id,
        reply_to=command.reply_to,
        personas=command.personas,
    )
    message = posted.message
    return Done({"message": message.pk, "seq": message.seq, "runs": posted.runs})


def _change(command: MessageEdit | MessageDelete | MessageReact, user: User) -> None:
    match command:
        case MessageEdit(message=message_id, text=text):
            services.edit_message(user=user, message_id=message_id, text=text)
        case MessageDelete(message=message_id):
            services.delete_message(user=user, message_id=message_id)
        case MessageReact(message=message_id, emoji=emoji, on=on):
            services.react(user=user, message_id=message_id, emoji=emoji, on=on)
