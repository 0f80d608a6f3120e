"""Rooms, their members, messages, runs and events; the quotas of teams; the workers."""

from rooms.models.messages import (
    AuthorKind,
    Mention,
    Message,
    MessageStatus,
    RoomEvent,
)
from rooms.models.rooms import (
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
    Worker,
)

__all__ = [
    "ACTIVE",
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
    "Worker",
]
