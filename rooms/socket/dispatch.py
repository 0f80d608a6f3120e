"""Executes commands in a worker thread, with one service call for each command."""

from dataclasses import dataclass, field
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
    ApprovalDecide,
    Command,
    MemberType,
    MessageDelete,
    MessageEdit,
    MessagePin,
    MessageReact,
    MessageSend,
    QuestionAnswer,
    RoomRead,
    RoundCancel,
    RoundSkip,
    RunCancel,
    RunRetry,
    RunSteer,
    ThreadRead,
)
from rooms.protocol.events import MemberTyping, encode


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a command; the client first gets the log of the room up to `after`."""

    result: dict[str, Any] = field(default_factory=dict)
    after: tuple[UUID, int] | None = None


def execute(command: Command, user: User, language: str) -> Outcome:
    """Execute a command; raises MaruError if it is refused, with the detail in `language`.

    Refusals are written to the audit log, except refusals of `room.read`, `thread.read` and
    `member.type`, which change no data of others. Blocking; call it from a worker thread.
    """
    try:
        with translation.override(language):
            check_scope(user.scope, WRITE)
            rate_limits.consume(rate_limits.COMMAND, user)
            return _dispatch(command, user)
    except MaruError as error:
        if not isinstance(command, RoomRead | ThreadRead | MemberType):
            kinds = ("room", "run", "round", "message", "approval", "question")
            kind = next(name for name in kinds if hasattr(command, name))
            tag, target = str(command.__struct_config__.tag), getattr(command, kind)
            audit_refusal(user, tag, error, target_kind=kind, target_id=target)
        raise


def _dispatch(command: Command, user: User) -> Outcome:  # noqa: C901, PLR0911, PLR0912 # one case for each command
    match command:
        case MessageSend():
            posted = services.post_message(
                user=user,
                room_id=command.room,
                text=command.text,
                client_id=command.client_id,
                reply_to=command.reply_to,
                personas=command.personas,
                mentions_first=command.mentions_first,
                in_turn=command.in_turn,
                led_by=command.led_by,
                also_in_room=command.also_in_room,
            )
            message = posted.message
            return Outcome({"message": message.pk, "seq": message.seq, "runs": posted.runs})
        case MessageEdit(message=message_id, text=text):
            services.edit_message(user=user, message_id=message_id, text=text)
        case MessageDelete(message=message_id):
            services.delete_message(user=user, message_id=message_id)
        case MessageReact(message=message_id, emoji=emoji, on=on):
            services.react(user=user, message_id=message_id, emoji=emoji, on=on)
        case MessagePin(message=message_id, on=on):
            services.pin_message(user=user, message_id=message_id, on=on)
        case ApprovalDecide():
            call = services.decide_call(
                user=user,
                call_id=command.approval,
                decision=command.decision,
                arguments_sha256=command.arguments_sha256,
                extent=command.extent,
                note=command.note,
            )
            return Outcome({"state": call.state})
        case RunCancel(run=run_id):
            run = services.cancel_run(user=user, run_id=run_id)
            # No delta may follow the answer to `run.cancel`.
            return Outcome(after=(run.room_id, run.room.last_seq))
        case RunRetry(run=run_id):
            return Outcome({"run": services.retry_run(user=user, run_id=run_id).pk})
        case RunSteer(run=run_id, text=text):
            return Outcome({"id": services.steer_run(user=user, run_id=run_id, text=text).pk})
        case QuestionAnswer(question=question_id, choice=choice, text=text):
            question = services.answer_question(
                user=user, question_id=question_id, choice=choice, text=text
            )
            return Outcome({"state": question.state})
        case RoundCancel(round=round_id):
            round_ = services.cancel_round(user=user, round_id=round_id)
            # As for `run.cancel`: no delta of the round may follow the answer.
            return Outcome(after=(round_.room_id, round_.room.last_seq))
        case RoundSkip(round=round_id):
            services.skip_step(user=user, round_id=round_id)
        case RoomRead(room=room_id, seq=seq):
            services.mark_read(user=user, room_id=room_id, seq=seq)
        case ThreadRead(message=message_id, seq=seq):
            services.mark_thread_read(user=user, message_id=message_id, seq=seq)
        case MemberType(room=room_id):
            room = access_room(user, room_id, POST)
            # The number of frames would grow with the square of the number of members.
            if room.members.count() <= LARGE_ROOM:
                typing = encode(MemberTyping(room=room_id, user=user.pk))
                publisher.publish(publisher.Ephemeral(room=room_id, frame=typing))
        case _:
            raise TypeError(type(command))
    return Outcome()
