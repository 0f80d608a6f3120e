"""A socket receives a room's events only while its user is a member.

`DELIVERIES=1000000 pytest -n0 tests/rooms/fanout/test_membership.py` is the long form.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from pytest_django import Settings

from rooms.fanout.topic import Topic
from tests.rooms.fanout.membership_machine import Intervals

pytestmark = pytest.mark.django_db(transaction=True)

DELIVERIES = int(os.environ.get("DELIVERIES", "2000"))
LONG = DELIVERIES > 10_000


@pytest.fixture(autouse=True)
def _unlimited(settings: Settings) -> None:
    settings.RATE_LIMITS = False


def test_each_socket_receives_the_events_of_its_membership_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Intervals, "delivered", 0)
    monkeypatch.setattr(Intervals, "chunks", 200 if LONG else Intervals.chunks)
    options = settings(
        max_examples=20 if LONG else 6,
        stateful_step_count=60 if LONG else 40,
        deadline=None,
        database=None,
        derandomize=False,  # Hypothesis sets it if CI=true: then each repetition would be the same
        phases=[Phase.generate],  # no shrinking: it is slow, and the failing step is sufficient
        suppress_health_check=list(HealthCheck),
    )

    while Intervals.delivered < DELIVERIES:
        run_state_machine_as_test(Intervals, settings=options)

    print(f"{Intervals.delivered} deliveries, all of them to members")


def test_machine_detects_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a topic that does not end the subscriptions of removed members."""
    monkeypatch.setattr(Topic, "_revoke", lambda self, user_id: None)

    with pytest.raises(AssertionError):
        run_removal_steps()


def test_machine_detects_missing_deltas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a topic that delivers no deltas."""
    monkeypatch.setattr(Topic, "_deliver_delta", lambda self, delta: None)

    with pytest.raises(AssertionError):
        run_removal_steps()


def test_machine_accepts_the_same_steps_without_a_fault() -> None:
    run_removal_steps()


def run_removal_steps() -> None:
    machine = Intervals()
    try:
        machine.set_up()
        machine.answer(0)
        machine.remove_during_answer(0, 0)
        machine.answer(0)
    finally:
        machine.teardown()
