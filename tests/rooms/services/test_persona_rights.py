"""What a right to a persona is worth in rooms: taking it in, asking it, being answered."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import QuerySet

from accounts.errors import Forbidden, NotFound
from accounts.services import set_team_role
from agents.models import Persona, PersonaGrant
from agents.services import (
    Grant,
    create_connection,
    create_demo_persona,
    delete_persona,
    put_grants,
    set_persona_enabled,
    update_connection,
    update_persona,
)
from rooms import services
from rooms.models import AllowedRoom, RoomEvent, RunState
from rooms.runs import lifecycle
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import get

pytestmark = pytest.mark.django_db


def only_for(cast: Cast, *users: object) -> None:
    grants = [Grant(frozenset({"use"}), user=user.pk) for user in users]  # type: ignore[attr-defined]  # users
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)


def test_only_who_may_use_a_persona_is_answered(cast: Cast) -> None:
    only_for(cast, cast.moderator)

    answered = services.post_message(user=cast.moderator, room_id=cast.room.pk, text="question")
    unanswered = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    assert (len(answered.runs), len(unanswered.runs)) == (1, 0)
    with pytest.raises(NotFound):
        services.post_message(
            user=cast.member, room_id=cast.room.pk, text="question", personas=[cast.persona.pk]
        )


def test_only_who_may_use_a_persona_takes_it_into_a_room(cast: Cast) -> None:
    only_for(cast)
    room = services.create_room(user=cast.member, team_id=cast.team.pk, name="mine")

    with pytest.raises(NotFound):
        services.bind_persona(user=cast.member, room_id=room.pk, persona_id=cast.persona.pk)
    with pytest.raises(NotFound):
        services.create_room(
            user=cast.member, team_id=cast.team.pk, name="mine", personas=[cast.persona.pk]
        )


def test_right_is_judged_again_when_the_run_starts(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    PersonaGrant.objects.filter(role="").delete()  # as by somebody who told nobody

    taken = lifecycle.claim_and_start("worker")

    assert taken is not None
    assert taken[1] is None
    run = cast.room.runs.get()
    assert (run.state, run.error_code) == (RunState.FAILED, "not_allowed")


def of_role_alone(cast: Cast, role: str) -> None:
    grants = [Grant(frozenset({"use"}), role=role)]
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)


@pytest.mark.parametrize("running", [False, True])
def test_answer_ends_when_the_right_to_it_is_taken(cast: Cast, running: bool) -> None:  # noqa: FBT001  # of pytest
    of_role_alone(cast, "member")
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    kept = services.post_message(user=cast.owner, room_id=cast.room.pk, text="question")
    if running:
        assert lifecycle.claim_and_start("worker") is not None

    only_for(cast)

    run = cast.room.runs.get(pk=posted.runs[0])
    assert (run.state, run.error_code) == (RunState.FAILED, "not_allowed")
    assert cast.room.runs.get(pk=kept.runs[0]).state == RunState.QUEUED
    assert RoomEvent.objects.filter(room=cast.room, type="run.failed").count() == 1


def test_answer_ends_when_the_role_that_had_the_right_does(cast: Cast) -> None:
    of_role_alone(cast, "member")
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk, role="guest")

    run = cast.room.runs.get(pk=posted.runs[0])
    assert (run.state, run.error_code) == (RunState.FAILED, "not_allowed")


def test_retry_needs_the_right_still(cast: Cast) -> None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    services.cancel_run(user=cast.member, run_id=posted.runs[0])
    only_for(cast)

    with pytest.raises((Forbidden, NotFound)):
        services.retry_run(user=cast.member, run_id=posted.runs[0])


def test_confined_persona_leaves_every_other_room(cast: Cast) -> None:
    other = services.create_room(
        user=cast.owner, team_id=cast.team.pk, name="other", personas=[cast.persona.pk]
    )
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    allowed = services.confine_persona(
        user=cast.owner, persona_id=cast.persona.pk, room_ids=[other.pk]
    )

    assert allowed == [other.pk]
    assert not cast.room.bindings.exists()
    assert other.bindings.exists()
    assert RoomEvent.objects.filter(room=cast.room, type="persona.unbound").exists()
    assert cast.room.runs.get(pk=posted.runs[0]).state == RunState.FAILED
    with pytest.raises(Forbidden):
        services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=cast.persona.pk)

    services.confine_persona(user=cast.owner, persona_id=cast.persona.pk, room_ids=None)
    services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=cast.persona.pk)


def test_persona_is_confined_only_by_who_manages_it_and_to_rooms_they_are_in(cast: Cast) -> None:
    foreign = create_demo_persona(
        user=cast.stranger, team_id=cast.stranger.memberships.get().team_id
    )
    private = services.create_room(user=cast.member, team_id=cast.team.pk, name="private")

    with pytest.raises(Forbidden):
        services.confine_persona(user=cast.member, persona_id=cast.persona.pk, room_ids=[])
    with pytest.raises(NotFound):
        services.confine_persona(user=cast.owner, persona_id=foreign.pk, room_ids=[])
    with pytest.raises(NotFound):
        services.confine_persona(user=cast.owner, persona_id=cast.persona.pk, room_ids=[private.pk])


def test_where_a_persona_may_answer_names_only_rooms_that_one_is_in(cast: Cast) -> None:
    hidden = services.create_room(user=cast.member, team_id=cast.team.pk, name="hidden")
    AllowedRoom.objects.create(persona=cast.persona, room=hidden)
    AllowedRoom.objects.create(persona=cast.persona, room=cast.room)
    Persona.objects.update(confined=True)

    answer = get(cast.owner, f"/api/v1/personas/{cast.persona.pk}/rooms")

    assert answer.json() == {"rooms": [str(cast.room.pk)]}


def while_we_wait(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let somebody else do something while we wait for the lock of a persona."""
    lock = QuerySet.select_for_update

    def wait(rows: Any, *args: Any, **kwargs: Any) -> Any:
        if rows.model is Persona:
            monkeypatch.setattr(QuerySet, "select_for_update", lock)
            act()
        return lock(rows, *args, **kwargs)

    monkeypatch.setattr(QuerySet, "select_for_update", wait)


def test_persona_that_is_confined_meanwhile_comes_into_no_room(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    for error, act in (
        (
            Forbidden,
            lambda: services.bind_persona(
                user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk
            ),
        ),
        (
            NotFound,
            lambda: services.create_room(
                user=cast.owner, team_id=cast.team.pk, name="new", personas=[persona.pk]
            ),
        ),
    ):
        Persona.objects.update(confined=False)
        while_we_wait(monkeypatch, lambda: Persona.objects.update(confined=True))
        with pytest.raises(error):
            act()

    assert not persona.bindings.exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda **whose: update_persona(**whose, goal="Mine."),
        lambda **whose: set_persona_enabled(**whose, enabled=False),
        delete_persona,
        lambda **whose: put_grants(**whose, grants=[]),
        lambda **whose: services.confine_persona(**whose, room_ids=[]),
    ],
)
def test_right_that_is_taken_meanwhile_is_not_used_once_more(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, act: Callable[..., object]
) -> None:
    everything = frozenset({"use", "edit", "manage", "share"})
    mine = [Grant(everything, user=cast.member.pk)]
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=mine)
    while_we_wait(monkeypatch, PersonaGrant.objects.filter(user=cast.member).delete)

    with pytest.raises(NotFound):
        act(user=cast.member, persona_id=cast.persona.pk)

    assert Persona.objects.get(pk=cast.persona.pk).version == 1


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("how", [{"key": ""}, {"base_url": "https://other.example.com/v1"}])
def test_answer_ends_when_the_key_is_taken_that_it_is_made_by(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    how: Any,
    running: bool,  # noqa: FBT001  # of pytest
) -> None:
    monkeypatch.setattr("agents.egress.guard.resolve", lambda host, port: ["93.184.216.34"])
    here: dict[str, Any] = {"user": cast.owner, "team_id": cast.team.pk}
    address, key = "https://api.example.com/v1", "sk-canary-0123456789"
    connection = create_connection(**here, name="A", kind="openai", base_url=address, key=key)
    Persona.objects.filter(pk=cast.persona.pk).update(connection=connection, model="m")
    other = create_demo_persona(**here)
    services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=other.pk)
    asked = [cast.persona.pk, other.pk]
    services.post_message(user=cast.member, room_id=cast.room.pk, text="Who?", personas=asked)
    for _ in range(2 if running else 0):
        assert lifecycle.claim_and_start("worker")

    update_connection(user=cast.owner, connection_id=connection.pk, **how)

    ended, untouched = cast.room.runs.get(persona=cast.persona), cast.room.runs.get(persona=other)
    assert (ended.state, ended.error_code) == (RunState.FAILED, "not_allowed")
    assert "key" in ended.error_detail
    assert untouched.state == (RunState.RUNNING if running else RunState.QUEUED)


def test_answer_goes_on_when_another_key_takes_the_place_of_one(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.egress.guard.resolve", lambda host, port: ["93.184.216.34"])
    connection = create_connection(
        user=cast.owner,
        team_id=cast.team.pk,
        name="A",
        kind="openai",
        base_url="https://api.example.com/v1",
        key="sk-canary-0123456789",
    )
    Persona.objects.filter(pk=cast.persona.pk).update(connection=connection, model="m")
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    update_connection(user=cast.owner, connection_id=connection.pk, key="sk-another-0123456789")

    assert cast.room.runs.get().state == RunState.QUEUED
