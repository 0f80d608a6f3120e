"""Rooms, their members, messages, runs and events; the quotas of teams; the workers."""

from rooms.models.messages import (
    AuthorKind,
    Mention,
    Message,
    MessageStatus,
    RoomEvent,
)
from rooms.models.rooms import (
    MAX_PERSONA_TURNS,
    AllowedRoom,
    AnswerPolicy,
    InvitedRoom,
    Privacy,
    Room,
    RoomMember,
    RoomMemberQuerySet,
    RoomPermission,
    RoomPersona,
    RoomQuerySet,
    RoomRole,
)
from rooms.models.runs import (
    ACTIVE,
    Run,
    RunQuerySet,
    RunState,
    TeamQuota,
    Why,
    Worker,
)

__all__ = [
    "ACTIVE",
    "MAX_PERSONA_TURNS",
    "AllowedRoom",
    "AnswerPolicy",
    "AuthorKind",
    "InvitedRoom",
    "Mention",
    "Message",
    "MessageStatus",
    "Privacy",
    "Room",
    "RoomEvent",
    "RoomMember",
    "RoomMemberQuerySet",
    "RoomPermission",
    "RoomPersona",
    "RoomQuerySet",
    "RoomRole",
    "Run",
    "RunQuerySet",
    "RunState",
    "TeamQuota",
    "Why",
    "Worker",
]
