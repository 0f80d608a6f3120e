"""The use cases of rooms: each function checks the permission of `user` in one transaction.

The exceptions are `add_members`, `joinable_rooms`, `rooms_to_join` and `check_may_edit`, whose
callers have checked it, `landing_room`, which returns only a room of the user, and `purge_rooms`
and `repair_owners`, jobs of the operator. Hooks are in `rooms.services.hooks`.
"""

from rooms.services.approvals import decide_call, may_see, may_show, show_result
from rooms.services.direct import open_direct_room
from rooms.services.messages import (
    check_may_edit,
    delete_message,
    edit_message,
    mark_read,
    post_message,
    react,
    set_read_position,
)
from rooms.services.own_rooms import dismiss_welcome, place_room
from rooms.services.people.arrivals import invite_into_rooms, landing_room
from rooms.services.people.members import (
    add_members,
    hand_over_room,
    join_room,
    joinable_rooms,
    put_member,
    remove_member,
)
from rooms.services.people.owners import repair_owners
from rooms.services.personas import (
    bind_persona,
    confine_persona,
    mute_persona,
    rooms_to_join,
    unbind_persona,
)
from rooms.services.pins import pin_message
from rooms.services.questions import answer_question, close_question
from rooms.services.rooms import (
    archive_room,
    create_first_room,
    create_room,
    delete_room,
    purge_rooms,
    restore_room,
    update_room,
)
from rooms.services.runs import (
    cancel_round,
    cancel_run,
    continue_answers,
    retry_run,
    skip_step,
)
from rooms.services.steering import steer_run
from rooms.services.threads import follow_thread, mark_thread_read
from rooms.services.votes import vote

__all__ = [
    "add_members",
    "answer_question",
    "archive_room",
    "bind_persona",
    "cancel_round",
    "cancel_run",
    "check_may_edit",
    "close_question",
    "confine_persona",
    "continue_answers",
    "create_first_room",
    "create_room",
    "decide_call",
    "delete_message",
    "delete_room",
    "dismiss_welcome",
    "edit_message",
    "follow_thread",
    "hand_over_room",
    "invite_into_rooms",
    "join_room",
    "joinable_rooms",
    "landing_room",
    "mark_read",
    "mark_thread_read",
    "may_see",
    "may_show",
    "mute_persona",
    "open_direct_room",
    "pin_message",
    "place_room",
    "post_message",
    "purge_rooms",
    "put_member",
    "react",
    "remove_member",
    "repair_owners",
    "restore_room",
    "retry_run",
    "rooms_to_join",
    "set_read_position",
    "show_result",
    "skip_step",
    "steer_run",
    "unbind_persona",
    "update_room",
    "vote",
]
