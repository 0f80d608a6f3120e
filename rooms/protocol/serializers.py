"""Functions that turn rows of the database into the structs of `rooms.protocol.payloads`."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from accounts.fields import format_timestamp
from accounts.models import User
from agents.models import Persona
from agents.tool_types import MAX_RESULT
from agents.tools.catalog import OWN_TOOLS
from rooms.models import (
    AuthorKind,
    Message,
    Question,
    Room,
    RoomMember,
    Round,
    Run,
    ToolCall,
)
from rooms.protocol.call_words import answers_in_english, number_of_answers
from rooms.protocol.emoji import merge_variants
from rooms.protocol.failures import failure_sentence
from rooms.protocol.payloads import (
    ApprovalBody,
    Author,
    MemberBody,
    MessageBody,
    PersonaBody,
    Pin,
    PinnedBody,
    QuestionAnswerBody,
    QuestionBody,
    Replies,
    ReplyAuthor,
    RoomBody,
    RoundBody,
    RoundStep,
    RunBody,
    RunError,
    RunUsage,
    Steering,
    Step,
    Votes,
)

PIN_TEXT: Final = 200
"""The number of code points of a text in the list of pins, as in `static/rooms/room_state.js`."""


def room_body(room: Room, member_count: int | UnsetType = UNSET) -> RoomBody:
    """Return the body of a room."""
    return RoomBody(
        id=room.pk,
        team=room.team_id,
        name=room.name,
        topic=room.topic,
        privacy=room.privacy,
        answer_policy=room.answer_policy,
        answers_in=room.answers_in,
        default_persona=room.default_persona_id,
        archived=room.archived_at is not None,
        persona_turns=room.persona_turns,
        muted_personas=[UUID(persona_id) for persona_id in room.muted_personas],
        direct=room.direct,
        for_everyone=room.for_everyone,
        mode=room.mode,
        lead=room.lead_id,
        other_decides=room.other_decides,
        summarizes=room.summarizes,
        member_count=member_count,
    )


def member_body(member: RoomMember) -> MemberBody:
    """Return the body of a member. `member.user` must be loaded: it is read without a query."""
    user = member.user
    return MemberBody(
        user=user.pk, name=user.name, handle=user.handle, wood=user.wood, role=member.role
    )


def persona_body(persona: Persona) -> PersonaBody:
    """Return the fields that room members may read: neither instructions nor connection."""
    return PersonaBody(
        id=persona.pk,
        name=persona.name,
        handle=persona.handle,
        role=persona.role,
        goal=persona.goal,
        pigment=persona.pigment,
        lattice=persona.lattice,
        enabled=persona.enabled,
    )


def message_body(message: Message, run: Run | None = None) -> MessageBody:
    """Return the body of a message; `run` is the run that wrote it (None: a user wrote it)."""
    return MessageBody(
        id=message.pk,
        room=message.room_id,
        seq=message.seq,
        author=_author(message),
        text=message.text,
        html=message.html,
        reply_to=message.reply_to_id,
        thread=message.thread_root_id,
        also_in_room=message.in_room and message.thread_root_id is not None,
        replies=replies_body(message),
        run=run.pk if run else None,
        status=message.status,
        reactions={
            emoji: [UUID(user_id) for user_id in user_ids]
            for emoji, user_ids in merge_variants(message.reactions).items()
        },
        created_at=format_timestamp(message.created_at),
        edited_at=_time(message.edited_at),
        deleted=message.deleted_at is not None,
        why=run.why if run else UNSET,
        capped=UNSET if message.capped_at is None else message.capped_at,
        pinned=_pin(message),
        replaces=message.replaces,
        replaced_by=message.replaced_by,
        answer_version=message.answer_version,
        version=message.persona_version,
        votes=_votes(message),
        steps=msgspec.convert(message.steps, list[Step]) if message.steps else UNSET,
        round=msgspec.convert(message.round, RoundBody) if message.round else UNSET,
        steered=msgspec.convert(message.steered, list[Steering]) if message.steered else UNSET,
    )


def pinned_body(message: Message, text: str) -> PinnedBody:
    """Return a pinned message for the list of pins; `text` are its first PIN_TEXT characters."""
    pin = _pin(message)
    if pin is None:
        raise ValueError("the message is not pinned")
    return PinnedBody(message=message.pk, author=_author(message), text=text, pinned=pin)


def _author(message: Message) -> Author:
    by_user = message.author_kind == AuthorKind.USER
    return Author(
        kind=message.author_kind,
        id=message.user_id if by_user else message.persona_id,
        name=message.author_name,
        handle=message.author_handle,
    )


def _votes(message: Message) -> Votes | None:
    if not message.votes_up and not message.votes_down:
        return None
    return Votes(up=message.votes_up, down=message.votes_down)


def _pin(message: Message) -> Pin | None:
    if message.pinned_at is None:
        return None
    return Pin(by=message.pinned_by_id, at=format_timestamp(message.pinned_at))


def replies_body(root: Message) -> Replies | None:
    """Return the summary of a thread; None if the message has no replies."""
    if not root.reply_count or root.last_reply_at is None:
        return None
    return Replies(
        count=root.reply_count,
        last_at=format_timestamp(root.last_reply_at),
        authors=msgspec.convert(root.reply_authors or [], list[ReplyAuthor]),
    )


def run_body(run: Run, position: int | None = None) -> RunBody:
    """Return the body of a run, its error in the active language.

    `position` is its place in the queue; None unless it is queued.
    """
    usage = None
    if run.input_tokens is not None and run.output_tokens is not None:
        usage = RunUsage(input_tokens=run.input_tokens, output_tokens=run.output_tokens)
    return RunBody(
        id=run.pk,
        persona=run.persona_id,
        message=run.message_id,
        answer=run.answer_id,
        thread=run.thread,
        state=run.state,
        attempt=run.attempt,
        requested_by=run.requested_by_id,
        stopped_by=run.stopped_by_id,
        position=position,
        error=_run_error(run),
        usage=usage,
        started_at=_time(run.started_at),
        ended_at=_time(run.ended_at),
        replaces=run.replaces or UNSET,
        round=run.round_id or UNSET,
        asked_by=run.parent_call_id or UNSET,
    )


def step(call: ToolCall) -> Step:
    """Return a call as all members see it; its result only if a member has shown it.

    Each event of the answer repeats the step, so it has at most MAX_RESULT characters of a result.
    """
    result = call.result
    if len(result) > MAX_RESULT:
        result = f"{result[:MAX_RESULT]}…"
    answers = number_of_answers(call)
    return Step(
        call=call.pk,
        tool=call.name,
        title=call.title,
        state=call.state,
        ms=call.ms,
        result=(call.short or None) if answers is None else answers_in_english(answers),
        shown=UNSET if call.shown_by_id is None else result,
        denial=call.denial or UNSET,
        own=call.tool in OWN_TOOLS or UNSET,
        answers=UNSET if answers is None else answers,
    )


def approval_body(
    call: ToolCall, run: Run, state: str = "", by: User | None = None
) -> ApprovalBody:
    """Return a call as an approval; `state` is the one in the event, `by` who decided."""
    return ApprovalBody(
        id=call.pk,
        run=run.pk,
        message=run.answer_id or run.message_id,
        persona=run.persona_id,
        call=call.pk,
        tool=call.name,
        title=call.title,
        own=call.tool in OWN_TOOLS or UNSET,
        changes=call.changes,
        asked_of=[UUID(user_id) for user_id in call.asked_of],
        state=state or "asked",
        by=by.pk if by else None,
        by_name=by.name if by else UNSET,
        at=_time(call.decided_at) or UNSET,
        for_run=call.for_run,
        may_for_run=not call.changes,
        denial=call.denial or UNSET,
        expires_at=_time(call.expires_at),
    )


def question_body(question: Question, run: Run) -> QuestionBody:
    """Return a question with its answers; one query, unless they are prefetched."""
    return QuestionBody(
        id=question.pk,
        run=run.pk,
        message=run.answer_id or run.message_id,
        persona=run.persona_id,
        text=question.text,
        choices=question.choices,
        asked_of=[UUID(user_id) for user_id in question.asked_of],
        state=question.state,
        answers=[
            QuestionAnswerBody(
                by=answer.user_id,
                name=answer.author_name,
                text=answer.text,
                at=format_timestamp(answer.created_at),
            )
            for answer in sorted(question.answers.all(), key=lambda a: (a.created_at, a.pk))
        ],
        expires_at=format_timestamp(question.expires_at),
    )


def round_body(round_: Round) -> RoundBody:
    """Return the plan of a round and how far it is."""
    return RoundBody(
        id=round_.pk,
        message=round_.message_id,
        requested_by=round_.requested_by_id,
        steps=msgspec.convert(round_.steps, list[RoundStep]),
        state=round_.state,
    )


def _run_error(run: Run) -> RunError | None:
    if not run.error_code:
        return None
    return RunError(
        code=run.error_code,
        detail=failure_sentence(run.error_code, run.error_reason, run.error_persona),
        reason=run.error_reason or UNSET,
        persona=run.error_persona or UNSET,
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_timestamp(moment)
