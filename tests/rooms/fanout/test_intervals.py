"""TEN-03: each socket hears just what happens while its owner is in the room.

`DELIVERIES=1000000 pytest -n0 tests/rooms/fanout/test_intervals.py` is the long form.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from pytest_django import Settings

from rooms.fanout.topic import Topic
from tests.rooms.fanout.intervals import Intervals

pytestmark = pytest.mark.django_db(transaction=True)

DELIVERIES = int(os.environ.get("DELIVERIES", "2000"))
LONG = DELIVERIES > 10_000


@pytest.fixture(autouse=True)
def _unlimited(settings: Settings) -> None:
    settings.RATE_LIMITS = False


def test_each_socket_hears_the_intervals_of_its_member_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Intervals, "delivered", 0)
    monkeypatch.setattr(Intervals, "chunks", 200 if LONG else Intervals.chunks)
    how = settings(
        max_examples=20 if LONG else 6,
        stateful_step_count=60 if LONG else 40,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a step that fails says all; to run it again takes long
        suppress_health_check=list(HealthCheck),
    )

    while Intervals.delivered < DELIVERIES:
        run_state_machine_as_test(Intervals, settings=how)

    print(f"{Intervals.delivered} deliveries, none of them to anybody who was not in the room")


def test_the_machine_sees_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a hub that lets somebody who was removed go on listening."""
    monkeypatch.setattr(Topic, "_revoke", lambda self, user_id: None)

    with pytest.raises(AssertionError):
        listen_and_be_removed()


def test_the_machine_sees_what_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a hub that lets nobody hear an answer."""
    monkeypatch.setattr(Topic, "_advance_answer", lambda self, delta: None)

    with pytest.raises(AssertionError):
        listen_and_be_removed()


def test_the_machine_has_nothing_against_the_same_without_a_fault() -> None:
    listen_and_be_removed()


def listen_and_be_removed() -> None:
    machine = Intervals()
    try:
        machine.move_in()
        machine.answer(0)
        machine.kick_in_mid_answer(0, 0)
        machine.answer(0)
    finally:
        machine.teardown()
