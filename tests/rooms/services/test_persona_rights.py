"""Rights to personas in rooms: binding a persona, asking it, getting its answer."""

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
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser, get

pytestmark = pytest.mark.django_db


def grant_use_only_to(cast: Cast, *users: object) -> None:
    grants = [Grant(frozenset({"use"}), user=user.pk) for user in users]  # type: ignore[attr-defined]  # users
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)


def test_persona_answers_only_users_with_the_right(cast: Cast) -> None:
    grant_use_only_to(cast, cast.moderator)

    answered = services.post_message(user=cast.moderator, room_id=cast.room.pk, text="question")
    unanswered = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    assert (len(answered.runs), len(unanswered.runs)) == (1, 0)
    with pytest.raises(NotFound):
        services.post_message(
            user=cast.member, room_id=cast.room.pk, text="question", personas=[cast.persona.pk]
        )


def test_binding_a_persona_needs_the_right_to_use_it(cast: Cast) -> None:
    grant_use_only_to(cast)
    room = services.create_room(user=cast.member, team_id=cast.team.pk, name="mine")

    with pytest.raises(NotFound):
        services.bind_persona(user=cast.member, room_id=room.pk, persona_id=cast.persona.pk)
    with pytest.raises(NotFound):
        services.create_room(
            user=cast.member, team_id=cast.team.pk, name="mine", personas=[cast.persona.pk]
        )


def test_right_is_checked_again_when_the_run_starts(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    PersonaGrant.objects.filter(role="").delete()  # without calling the hooks

    claimed = claim_and_start("worker")

    assert claimed is not None
    assert claimed[1] is None
    run = cast.room.runs.get()
    assert (run.state, run.error_code) == (RunState.FAILED, "not_allowed")


def grant_use_only_to_role(cast: Cast, role: str) -> None:
    grants = [Grant(frozenset({"use"}), role=role)]
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)


@pytest.mark.parametrize("running", [False, True])
def test_run_fails_when_the_right_is_revoked(cast: Cast, running: bool) -> None:  # noqa: FBT001  # a parameter of pytest
    grant_use_only_to_role(cast, "member")
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    kept = services.post_message(user=cast.owner, room_id=cast.room.pk, text="question")
    if running:
        assert claim_and_start("worker") is not None

    grant_use_only_to(cast)

    run = cast.room.runs.get(pk=posted.runs[0])
    assert (run.state, run.error_code) == (RunState.FAILED, "not_allowed")
    assert cast.room.runs.get(pk=kept.runs[0]).state == RunState.QUEUED
    assert RoomEvent.objects.filter(room=cast.room, type="run.failed").count() == 1


def test_run_fails_when_the_role_with_the_right_is_lost(cast: Cast) -> None:
    grant_use_only_to_role(cast, "member")
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk, role="guest")

    run = cast.room.runs.get(pk=posted.runs[0])
    assert (run.state, run.error_code) == (RunState.FAILED, "not_allowed")


def test_retry_needs_the_right(cast: Cast) -> None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    services.cancel_run(user=cast.member, run_id=posted.runs[0])
    grant_use_only_to(cast)

    with pytest.raises((Forbidden, NotFound)):
        services.retry_run(user=cast.member, run_id=posted.runs[0])


def test_muting_a_bound_persona_needs_no_right_to_use_it(cast: Cast) -> None:
    room = cast.room
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=[])
    services.put_member(user=cast.owner, room_id=room.pk, member_id=cast.member.pk, role="owner")
    path = f"/api/v1/rooms/{room.pk}/personas/{cast.persona.pk}"

    muted = browser(cast.member).put(path, {"muted": True}, "application/json")
    services.unbind_persona(user=cast.owner, room_id=room.pk, persona_id=cast.persona.pk)
    bound = browser(cast.member).put(path, {"muted": True}, "application/json")

    assert (muted.status_code, bound.status_code) == (204, 404)


def test_confined_persona_is_unbound_from_other_rooms(cast: Cast) -> None:
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


def test_confining_needs_the_right_to_manage_and_visible_rooms(cast: Cast) -> None:
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


def test_allowed_rooms_list_only_rooms_of_the_user(cast: Cast) -> None:
    hidden = services.create_room(user=cast.member, team_id=cast.team.pk, name="hidden")
    AllowedRoom.objects.create(persona=cast.persona, room=hidden)
    AllowedRoom.objects.create(persona=cast.persona, room=cast.room)
    Persona.objects.update(confined=True)

    answer = get(cast.owner, f"/api/v1/personas/{cast.persona.pk}/rooms")

    assert answer.json() == {"rooms": [str(cast.room.pk)]}


def before_persona_lock(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Call `act` once, right before a persona is locked, as a concurrent transaction would."""
    lock = QuerySet.select_for_update

    def wait(rows: Any, *args: Any, **kwargs: Any) -> Any:
        if rows.model is Persona:
            monkeypatch.setattr(QuerySet, "select_for_update", lock)
            act()
        return lock(rows, *args, **kwargs)

    monkeypatch.setattr(QuerySet, "select_for_update", wait)


def test_concurrently_confined_persona_cannot_be_bound(
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
        before_persona_lock(monkeypatch, lambda: Persona.objects.update(confined=True))
        with pytest.raises(error):
            act()

    assert not persona.bindings.exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda **args: update_persona(**args, goal="Mine."),
        lambda **args: set_persona_enabled(**args, enabled=False),
        delete_persona,
        lambda **args: put_grants(**args, grants=[]),
        lambda **args: services.confine_persona(**args, room_ids=[]),
    ],
)
def test_concurrently_revoked_right_is_refused(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, act: Callable[..., object]
) -> None:
    everything = frozenset({"use", "edit", "manage", "share"})
    mine = [Grant(everything, user=cast.member.pk)]
    put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=mine)
    before_persona_lock(monkeypatch, PersonaGrant.objects.filter(user=cast.member).delete)

    with pytest.raises(NotFound):
        act(user=cast.member, persona_id=cast.persona.pk)

    assert Persona.objects.get(pk=cast.persona.pk).version == 1


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("how", [{"key": ""}, {"base_url": "https://other.example.com/v1"}])
def test_runs_of_a_connection_fail_when_its_key_is_removed(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    how: Any,
    running: bool,  # noqa: FBT001  # a parameter of pytest
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
        assert claim_and_start("worker")

    update_connection(user=cast.owner, connection_id=connection.pk, **how)

    ended, untouched = cast.room.runs.get(persona=cast.persona), cast.room.runs.get(persona=other)
    assert (ended.state, ended.error_code) == (RunState.FAILED, "not_allowed")
    assert ended.error_reason == "key_removed"
    assert untouched.state == (RunState.RUNNING if running else RunState.QUEUED)


def test_runs_of_a_connection_continue_when_its_key_is_replaced(
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
