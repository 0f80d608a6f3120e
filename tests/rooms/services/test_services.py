"""The services of rooms, their permissions and the events that they record."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from accounts.errors import Conflict, Forbidden, Invalid, MaruError, NotFound, TooLarge
from accounts.models import User
from accounts.roles import TEAM_ROLES
from agents.services import create_demo_persona, update_persona
from rooms import services
from rooms.event_log import events_after
from rooms.models import AnswerPolicy, Message, Room, RoomEvent, RoomMember, RoomRole, Run, RunState
from rooms.permissions import MANAGE, POST, VIEW, access_room
from rooms.services.people.memberships import leave_rooms
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def kinds(room: Room) -> list[str]:
    return [event.type for event in events_after(room.pk, 0)]


def test_message_is_recorded_before_its_run(cast: Cast) -> None:
    before = cast.refreshed().last_seq

    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="hello")

    assert posted.message.seq == before + 1
    assert kinds(cast.room)[before:] == ["message.created", "run.queued"]
    assert [run.pk for run in Run.objects.all()] == posted.runs


def test_log_has_no_gaps(cast: Cast) -> None:
    for number in range(5):
        services.post_message(user=cast.owner, room_id=cast.room.pk, text=f"{number}")

    seqs = list(
        RoomEvent.objects.filter(room=cast.room).order_by("seq").values_list("seq", flat=True)
    )

    assert seqs == list(range(1, cast.refreshed().last_seq + 1))


def test_repeated_client_id_is_one_message_and_one_run(cast: Cast) -> None:
    client_id = uuid4()

    first, again = (
        services.post_message(
            user=cast.member, room_id=cast.room.pk, text="once", client_id=client_id
        )
        for _ in range(2)
    )

    assert again == first
    assert Message.objects.filter(client_id=client_id).count() == 1
    assert Run.objects.count() == 1


def test_client_id_of_another_user_is_another_message(cast: Cast) -> None:
    client_id = uuid4()

    for user in (cast.member, cast.owner):
        services.post_message(user=user, room_id=cast.room.pk, text="mine", client_id=client_id)

    assert Message.objects.filter(client_id=client_id).count() == 2


def test_sending_takes_at_most_twelve_queries(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="creates the quota")

    with CaptureQueriesContext(connection) as captured:
        services.post_message(
            user=cast.member, room_id=cast.room.pk, text="hello @reader", client_id=uuid4()
        )

    statements = [query for query in captured if "SAVEPOINT" not in query["sql"]]
    assert len(statements) <= 12


def test_permission_check_takes_one_query(
    cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for user in (cast.owner, cast.reader, cast.stranger, cast.nobody):
        with django_assert_num_queries(1), suppress(MaruError):
            access_room(user, cast.room.pk, MANAGE)


Attempt = Callable[[User, Cast], object]
ATTEMPTS: dict[str, Attempt] = {
    "post": lambda user, cast: services.post_message(user=user, room_id=cast.room.pk, text="hi"),
    "update": lambda user, cast: services.update_room(user=user, room_id=cast.room.pk, name="x"),
    "put_member": lambda user, cast: services.put_member(
        user=user, room_id=cast.room.pk, member_id=cast.member.pk, role="owner"
    ),
    "remove_member": lambda user, cast: services.remove_member(
        user=user, room_id=cast.room.pk, member_id=cast.member.pk
    ),
    "bind": lambda user, cast: services.bind_persona(
        user=user, room_id=cast.room.pk, persona_id=cast.persona.pk
    ),
    "unbind": lambda user, cast: services.unbind_persona(
        user=user, room_id=cast.room.pk, persona_id=cast.persona.pk
    ),
    "read": lambda user, cast: services.mark_read(user=user, room_id=cast.room.pk, seq=1),
    "view": lambda user, cast: access_room(user, cast.room.pk, VIEW),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("who", ["stranger", "nobody"])
def test_users_outside_the_room_get_not_found(cast: Cast, attempt: str, who: str) -> None:
    seq = cast.refreshed().last_seq

    with pytest.raises(NotFound):
        ATTEMPTS[attempt](getattr(cast, who), cast)

    assert cast.refreshed().last_seq == seq


@pytest.mark.parametrize("attempt", ["update", "put_member", "bind", "unbind", "post"])
def test_reader_is_refused(cast: Cast, attempt: str) -> None:
    with pytest.raises(Forbidden):
        ATTEMPTS[attempt](cast.reader, cast)


def test_superuser_has_no_extra_permissions(cast: Cast) -> None:
    cast.nobody.is_superuser = cast.nobody.is_staff = True
    cast.nobody.save()

    with pytest.raises(NotFound):
        access_room(cast.nobody, cast.room.pk, VIEW)


def test_suspended_user_gets_not_found(cast: Cast) -> None:
    cast.member.is_active = False
    cast.member.save()

    with pytest.raises(NotFound):
        access_room(cast.member, cast.room.pk, VIEW)


def test_removed_member_gets_not_found(cast: Cast) -> None:
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    with pytest.raises(NotFound):
        access_room(cast.member, cast.room.pk, VIEW)
    assert kinds(cast.room)[-1] == "member.removed"


def test_demoted_member_may_not_post(cast: Cast) -> None:
    services.put_member(
        user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk, role=RoomRole.READER
    )

    with pytest.raises(Forbidden):
        access_room(cast.member, cast.room.pk, POST)


def test_user_of_another_team_cannot_be_added(cast: Cast) -> None:
    with pytest.raises(NotFound):
        services.put_member(
            user=cast.owner, room_id=cast.room.pk, member_id=cast.stranger.pk, role="member"
        )


def test_last_owner_can_neither_leave_nor_step_down(cast: Cast) -> None:
    with pytest.raises(Conflict):
        services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.owner.pk)
    with pytest.raises(Conflict):
        services.put_member(
            user=cast.owner, room_id=cast.room.pk, member_id=cast.owner.pk, role="member"
        )


def test_persona_of_another_team_cannot_be_bound(cast: Cast) -> None:
    other = cast.stranger.memberships.get().team_id
    foreign = create_demo_persona(user=cast.stranger, team_id=other)

    with pytest.raises(NotFound):
        services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=foreign.pk)
    with pytest.raises(NotFound):
        services.create_room(user=cast.owner, team_id=cast.team.pk, name="x", personas=[foreign.pk])
    with pytest.raises(NotFound):
        services.post_message(
            user=cast.owner, room_id=cast.room.pk, text="hi", personas=[foreign.pk]
        )


def test_reply_to_a_message_of_another_room_is_not_found(cast: Cast) -> None:
    other = services.create_room(user=cast.owner, team_id=cast.team.pk, name="other")
    foreign = services.post_message(user=cast.owner, room_id=other.pk, text="there")

    with pytest.raises(NotFound):
        services.post_message(
            user=cast.owner, room_id=cast.room.pk, text="here", reply_to=foreign.message.pk
        )


@pytest.mark.parametrize("text", ["", " \n\t", "a\x00b"])
def test_blank_text_is_invalid(cast: Cast, text: str) -> None:
    with pytest.raises(Invalid):
        services.post_message(user=cast.owner, room_id=cast.room.pk, text=text)


def test_message_has_at_most_16000_characters(cast: Cast) -> None:
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="가" * 16_000)

    with pytest.raises(TooLarge):
        services.post_message(user=cast.owner, room_id=cast.room.pk, text="가" * 16_001)


@pytest.mark.parametrize(
    ("policy", "text", "answers"),
    [
        (AnswerPolicy.DEFAULT, "hello", ["first"]),
        (AnswerPolicy.DEFAULT, "hello @second", ["second"]),
        (AnswerPolicy.DEFAULT, "@FIRST and @second", ["first", "second"]),
        (AnswerPolicy.DEFAULT, "mail me at a@second", ["first"]),
        (AnswerPolicy.MENTION, "hello", []),
        (AnswerPolicy.MENTION, "@second?", ["second"]),
        (AnswerPolicy.THREAD, "hello", []),
        (AnswerPolicy.OFF, "@first", []),
    ],
)
def test_answer_policy_selects_the_personas(
    cast: Cast, policy: AnswerPolicy, text: str, answers: list[str]
) -> None:
    first, second = (create_demo_persona(user=cast.owner, team_id=cast.team.pk) for _ in range(2))
    for persona, handle in ((first, "first"), (second, "second")):
        update_persona(user=cast.owner, persona_id=persona.pk, handle=handle)
    room = services.create_room(
        user=cast.owner,
        team_id=cast.team.pk,
        name="policies",
        answer_policy=policy,
        personas=[first.pk, second.pk],
    )

    posted = services.post_message(user=cast.owner, room_id=room.pk, text=text)

    asked = [Run.objects.get(pk=run).persona.handle for run in posted.runs]
    assert asked == answers


def test_empty_list_of_personas_queues_no_run(cast: Cast) -> None:
    posted = services.post_message(
        user=cast.owner, room_id=cast.room.pk, text="just us", personas=[]
    )

    assert posted.runs == []


def test_queued_run_is_cancelled_by_its_asker(cast: Cast) -> None:
    (run_id,) = services.post_message(user=cast.member, room_id=cast.room.pk, text="hi").runs

    run = services.cancel_run(user=cast.member, run_id=run_id)

    assert (run.state, run.stopped_by_id) == (RunState.CANCELLED, cast.member.pk)
    assert kinds(cast.room)[-1] == "run.cancelled"


def test_second_cancel_changes_nothing(cast: Cast) -> None:
    (run_id,) = services.post_message(user=cast.member, room_id=cast.room.pk, text="hi").runs
    services.cancel_run(user=cast.member, run_id=run_id)
    seq = cast.refreshed().last_seq

    services.cancel_run(user=cast.moderator, run_id=run_id)

    assert cast.refreshed().last_seq == seq
    assert Run.objects.get(pk=run_id).stopped_by == cast.member


@pytest.mark.parametrize(
    ("who", "error"),
    [("moderator", None), ("owner", None), ("reader", Forbidden), ("stranger", NotFound)],
)
def test_cancelling_the_run_of_another_user_needs_moderate(
    cast: Cast, who: str, error: type[MaruError] | None
) -> None:
    (run_id,) = services.post_message(user=cast.member, room_id=cast.room.pk, text="hi").runs

    if error is None:
        services.cancel_run(user=getattr(cast, who), run_id=run_id)
    else:
        with pytest.raises(error):
            services.cancel_run(user=getattr(cast, who), run_id=run_id)


def test_run_is_retried_once(cast: Cast) -> None:
    (run_id,) = services.post_message(user=cast.member, room_id=cast.room.pk, text="hi").runs
    services.cancel_run(user=cast.member, run_id=run_id)

    again = services.retry_run(user=cast.member, run_id=run_id)

    assert (again.message_id, again.state) == (
        Run.objects.get(pk=run_id).message_id,
        RunState.QUEUED,
    )
    with pytest.raises(Conflict):
        services.retry_run(user=cast.member, run_id=run_id)


def test_read_position_never_moves_back(cast: Cast) -> None:
    for seq in (3, 1, 10**9):
        services.mark_read(user=cast.member, room_id=cast.room.pk, seq=seq)
        member = RoomMember.objects.get(room=cast.room, user=cast.member)
        assert member.read_seq == max(3, min(seq, cast.refreshed().last_seq), member.read_seq)


def test_leaving_a_team_leaves_its_rooms_with_a_new_owner(cast: Cast) -> None:
    leave_rooms(member=cast.owner, team_id=cast.team.pk)

    assert not RoomMember.objects.filter(user=cast.owner).exists()
    assert RoomMember.objects.get(room=cast.room, role=RoomRole.OWNER).user == cast.moderator
    with pytest.raises(NotFound):
        access_room(cast.owner, cast.room.pk, VIEW)


def test_guests_cannot_create_rooms(cast: Cast) -> None:
    assert "create_room" not in TEAM_ROLES["guest"]

    with pytest.raises(NotFound):
        services.create_room(user=cast.stranger, team_id=cast.team.pk, name="mine now")


@pytest.mark.django_db(transaction=True)
def test_concurrent_sends_with_one_client_id_are_one_message(cast: Cast) -> None:
    client_id = uuid4()
    seqs: list[int] = []

    def send() -> None:
        posted = services.post_message(
            user=cast.member, room_id=cast.room.pk, text="once", client_id=client_id
        )
        seqs.append(posted.message.seq)
        connection.close()

    threads = [Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seqs) == 8
    assert len(set(seqs)) == 1
    assert Message.objects.filter(client_id=client_id).count() == 1


def test_name_of_a_room_is_cleaned_and_must_be_visible(cast: Cast) -> None:
    room = services.create_room(
        user=cast.owner, team_id=cast.team.pk, name=" a\u202eb\n c ", topic="one\ntwo"
    )

    assert (room.name, room.topic) == ("ab c", "one two")
    with pytest.raises(Invalid):
        services.update_room(user=cast.owner, room_id=room.pk, name="\u200b")
