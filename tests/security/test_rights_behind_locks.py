"""A right that ends while a service waits for a lock ends before the service writes.

Each service is called, and just before its first lock or write the rights of the acting user end,
as if another transaction had held the lock and committed. The service must refuse and write
nothing. SQLite has no row locks: a query that would lock in PostgreSQL counts as a lock here.
"""

from collections.abc import Callable
from functools import partial

import pytest
from django.apps import apps
from django.db import transaction
from django.test import Client

from accounts.errors import Forbidden, MaruError, NotFound
from accounts.models import Team, TeamMember, TeamPermission, User
from accounts.permissions import MANAGE, access_team
from accounts.services import create_token
from rooms.models import (
    Message,
    Question,
    RoomMember,
    RoomPermission,
    Round,
    RoundState,
    Run,
    RunState,
)
from tests.rooms.asking import make_question
from tests.security.locks import before_locks_and_writes, steps_after_audit
from tests.security.test_audited import BEFORE, CHANGES, A, Act, G, R, Scenario, added, services

pytestmark = pytest.mark.django_db


def said(scenario: Scenario) -> Message:
    return Message.objects.get(user=scenario.owner)


def run_of_the_member(scenario: Scenario, state: str) -> None:
    R.put_member(
        user=scenario.owner, room_id=scenario.room.pk, member_id=scenario.member.pk, role="member"
    )
    R.post_message(user=scenario.member, room_id=scenario.room.pk, text="question")
    Run.objects.update(state=state)


def question_of_a_run(scenario: Scenario) -> None:
    run_of_the_member(scenario, RunState.WAITING)
    make_question(Run.objects.get().pk, scenario.owner.pk)


def pause_round_of_the_member(scenario: Scenario) -> None:
    run_of_the_member(scenario, RunState.FAILED)
    Round.objects.create(
        room=scenario.room,
        message=Message.objects.get(),
        requested_by=scenario.member,
        state=RoundState.PAUSED,
    )


def say(scenario: Scenario) -> None:
    R.post_message(user=scenario.owner, room_id=scenario.room.pk, text="words", personas=[])


def say_and_cap(scenario: Scenario) -> None:
    say(scenario)
    Message.objects.update(capped_at=1)


def answered(scenario: Scenario) -> Message:
    return Message.objects.get(persona=scenario.persona)


def answer_of_the_persona(scenario: Scenario) -> None:
    Message.objects.create(
        room=scenario.room,
        seq=scenario.room.last_seq + 100,
        persona=scenario.persona,
        author_kind="persona",
        author_name=scenario.persona.name,
        author_handle=scenario.persona.handle,
        text="answer",
    )


# The services without audit entries, which test_audited does not call.
MESSAGES: dict[str, Act] = {
    "post_message": lambda w: R.post_message(user=w.owner, room_id=w.room.pk, text="hello"),
    "edit_message": lambda w: R.edit_message(user=w.owner, message_id=said(w).pk, text="other"),
    "react": lambda w: R.react(user=w.owner, message_id=said(w).pk, emoji="👍", on=True),
    "pin_message": lambda w: R.pin_message(user=w.owner, message_id=said(w).pk, on=True),
    "vote": lambda w: R.vote(user=w.owner, message_id=answered(w).pk, value=1),
    "delete_message": lambda w: R.delete_message(user=w.owner, message_id=said(w).pk),
    "cancel_run": lambda w: R.cancel_run(user=w.owner, run_id=Run.objects.get().pk),
    "retry_run": lambda w: R.retry_run(user=w.owner, run_id=Run.objects.get().pk),
    "steer_run": lambda w: R.steer_run(user=w.owner, run_id=Run.objects.get().pk, text="go on"),
    "answer_question": lambda w: R.answer_question(
        user=w.owner, question_id=Question.objects.get().pk, text="yes"
    ),
    "close_question": lambda w: R.close_question(
        user=w.owner, question_id=Question.objects.get().pk
    ),
    "cancel_round": lambda w: R.cancel_round(user=w.owner, round_id=Round.objects.get().pk),
    "skip_step": lambda w: R.skip_step(user=w.owner, round_id=Round.objects.get().pk),
    "continue_answers": lambda w: R.continue_answers(user=w.owner, message_id=said(w).pk),
}
PREPARE: dict[str, Act] = {
    **BEFORE,
    **dict.fromkeys(("edit_message", "react", "pin_message", "delete_message"), say),
    "vote": answer_of_the_persona,
    "cancel_run": lambda w: run_of_the_member(w, RunState.QUEUED),
    "retry_run": lambda w: run_of_the_member(w, RunState.FAILED),
    "steer_run": lambda w: run_of_the_member(w, RunState.QUEUED),
    **dict.fromkeys(("answer_question", "close_question"), question_of_a_run),
    **dict.fromkeys(("cancel_round", "skip_step"), pause_round_of_the_member),
    "continue_answers": say_and_cap,
    "put_member": added,
}
ACTS: dict[str, Act] = {name: act for name, (act, _actions) in CHANGES.items()} | MESSAGES

OWN = "changes only rows of the acting user"
WITHOUT_RIGHT = {
    "create_team": OWN,
    "create_token": OWN,
    "revoke_token": OWN,
    "change_password": OWN,
    "finish_email_change": OWN,
    "update_profile": OWN,
    "create_user": "for anybody",
    "complete_setup": "for the holder of the setup link",
    "suspend_user": "the admin site checks the right",
    "restore_user": "the admin site checks the right",
    "purge_teams": "a job of the operator",
}
READ_OR_OPERATE = {
    *("add_members", "build_spec", "check_base_url", "check_connection", "check_may_edit"),
    *("check_new_connection", "create_setup_link", "find_unreadable_keys", "get_invitation"),
    *("get_invitation_by_digest", "get_setup_link", "invitation_url", "is_set_up"),
    *("dismiss_welcome", "landing_room", "place_room"),
    *(
        "joinable_rooms",
        "list_grants",
        "list_tools",
        "mark_read",
        "may_see",
        "may_show",
        "open_invitations",
        "purge_expired",
    ),
    "set_read_position",
    *("check_mcp_server", "check_new_mcp_server", "inspect_new_server"),
    *("start_sign_in", "finish_sign_in"),  # tests/mcp/test_sign_in.py
    *("purge_rooms", "repair_owners", "rotate_keys", "user_for_token", "users_for_sessions"),
    *("follow_thread", "mark_thread_read", "rooms_to_join", "users_for_tokens"),
}
CHECKED = sorted(ACTS.keys() - WITHOUT_RIGHT.keys())
# `accept_invitation` needs the right of the author of the invitation, who is the owner.
ACTING = {"join_room": "member"}


def remove(user: User) -> None:
    for model in (TeamMember, TeamPermission, RoomMember, RoomPermission):
        model.objects.filter(user=user).delete()


def demote(user: User) -> None:
    TeamMember.objects.filter(user=user).update(role="guest")
    RoomMember.objects.filter(user=user).update(role="reader")
    for model in (TeamPermission, RoomPermission):
        model.objects.filter(user=user).exclude(permission__codename="view").delete()


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def contents() -> dict[str, list[dict[str, object]]]:
    """Return all rows of the product's tables."""
    models = [
        m for app in ("accounts", "agents", "rooms") for m in apps.get_app_config(app).get_models()
    ]
    return {m.__name__: list(m._default_manager.order_by("pk").values()) for m in models}


def call_without_right(act: Callable[[], object], end_right: Callable[[], None]) -> str:
    """Call `act`; end the right before its first lock or write. Return what happened."""
    ended = False

    def end_once(_what: str) -> None:
        nonlocal ended
        if not ended:
            ended = True
            end_right()

    before = contents()
    outcome = "not refused"
    try:
        with transaction.atomic(), before_locks_and_writes(end_once):
            act()
            transaction.set_rollback(True)
    except MaruError as error:
        outcome = "refused" if isinstance(error, NotFound | Forbidden) else f"{error!r}"
    if not ended:
        return "neither locks nor writes"
    return outcome if contents() == before else "written"


@pytest.mark.parametrize("name", CHECKED)
def test_right_that_ends_before_the_lock_refuses(name: str) -> None:
    scenario = Scenario()
    if name in PREPARE:
        PREPARE[name](scenario)
    user = getattr(scenario, ACTING.get(name, "owner"))

    outcomes = {
        end.__name__: call_without_right(lambda: ACTS[name](scenario), partial(end, user))
        for end in (remove, demote, deactivate)
    }

    assert outcomes == dict.fromkeys(outcomes, "refused")


def test_every_service_is_checked_or_needs_no_right() -> None:
    assert sorted(services()) == sorted({*CHECKED, *WITHOUT_RIGHT, *READ_OR_OPERATE})
    assert WITHOUT_RIGHT.keys() <= ACTS.keys()


def test_check_finds_a_service_that_asks_only_before_the_lock() -> None:
    scenario = Scenario()

    def rename_carelessly() -> None:
        team = access_team(scenario.owner, scenario.team.pk, MANAGE)
        Team.objects.locked().get(pk=team.pk)
        Team.objects.filter(pk=team.pk).update(name="new")

    outcome = call_without_right(rename_carelessly, lambda: remove(scenario.owner))

    assert outcome == "not refused"
    assert call_without_right(lambda: None, lambda: None) == "neither locks nor writes"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("teams/{team}/members/{member}", {"role": "guest", "suspended": True}),
        ("teams/{team}/members/{member}", {"role": "admin", "suspended": True}),
        ("teams/{team}", {"name": "new", "require_mfa": False}),
        ("rooms/{room}", {"name": "new", "archived": True}),
    ],
)
def test_audit_log_is_locked_last_by_a_patch_of_several_fields(
    path: str, body: dict[str, object]
) -> None:
    scenario = Scenario()
    added(scenario)
    R.update_room(user=scenario.owner, room_id=scenario.room.pk, privacy="team")
    R.post_message(user=scenario.member, room_id=scenario.room.pk, text="question")
    _token, secret = create_token(user=scenario.owner, name="script", scopes=["admin"])
    client = Client(headers={"authorization": f"Bearer {secret}"})
    ids = {"team": scenario.team.pk, "member": scenario.member.pk, "room": scenario.room.pk}
    url = f"/api/v1/{path.format(**ids)}"

    def patch_all() -> None:
        assert client.patch(url, body, "application/json").status_code == 200

    assert steps_after_audit(patch_all) == []


def test_key_is_not_stored_by_an_admin_who_was_removed_during_the_name_resolution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = Scenario()
    admin, team_id = scenario.member, scenario.team.pk
    A.set_team_role(user=scenario.owner, team_id=team_id, member_id=admin.pk, role="admin")
    before = contents()["Connection"]

    def resolve_slowly(_url: str) -> None:
        if TeamMember.objects.filter(user=admin).exists():
            A.remove_team_member(user=scenario.owner, team_id=team_id, member_id=admin.pk)

    monkeypatch.setattr("agents.services.connections.check_url", resolve_slowly)
    url = "https://evil.example.com"
    with pytest.raises(NotFound):
        G.update_connection(
            user=admin, connection_id=scenario.connection.pk, base_url=url, key="sk-new"
        )
    A.accept_invitation(
        user=admin, token=A.invite(user=scenario.owner, team_id=team_id, role="admin")[1]
    )
    with pytest.raises(NotFound):
        G.create_connection(
            user=admin, team_id=team_id, name="Slow", kind="openai", base_url=url, key="sk-new"
        )

    assert contents()["Connection"] == before
