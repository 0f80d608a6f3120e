"""Rate limits: exact counts, separate counters, end of the window, and Redis outages."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from accounts import rate_limits
from accounts.errors import RateLimited
from accounts.models import User
from accounts.rate_limits import LIMITS, MemoryCounters, RateLimit, RedisCounters
from accounts.scopes import FULL_SCOPE

RULES = [(action, kind) for action, kind in LIMITS]


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _counters(settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    settings.RATE_LIMITS = True
    mine = MemoryCounters(clock)
    monkeypatch.setattr(rate_limits, "get_counters", lambda: mine)


def new_user(token: UUID | None = None) -> User:
    user = User(pk=uuid4())
    user.scope = replace(FULL_SCOPE, token_id=token)
    return user


def passes(action: str, kind: str, one: UUID) -> bool:
    """Count one use by a new user, so that only the limit of `kind` applies.

    Return True if the use passes.
    """
    user = new_user(token=one if kind == "token" else None)
    if kind == "user":
        user.pk = one
    where = {"room_id": one} if kind == "room" else {"team_id": one} if kind == "team" else {}
    try:
        rate_limits.consume(action, user, **where)
    except RateLimited as refused:
        return not 1 <= (refused.retry_after or 0) <= LIMITS[action, kind].seconds
    return True


@pytest.mark.parametrize(("action", "kind"), RULES)
def test_each_limit_applies_at_its_count(
    action: str, kind: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, another = uuid4(), uuid4()
    most, seconds = LIMITS[action, kind].max_count, LIMITS[action, kind].seconds

    assert sum(passes(action, kind, one) for _ in range(most + 20)) == most
    assert passes(action, kind, another)
    clock.now += seconds - 0.001
    assert not passes(action, kind, one)
    clock.now += 0.001
    assert sum(passes(action, kind, one) for _ in range(most + 20)) == most


def test_wait_is_the_rest_of_the_window(clock: Clock) -> None:
    counters = MemoryCounters(clock)
    uses = [("key", RateLimit(1, 60))]

    assert counters.consume(uses) is None
    clock.now += 20
    assert counters.consume(uses) == 40


def test_longest_wait_is_returned(clock: Clock) -> None:
    counters = MemoryCounters(clock)
    uses = [("long", RateLimit(1, 60)), ("short", RateLimit(1, 5)), ("wide", RateLimit(9, 900))]

    counters.consume(uses)
    assert counters.consume(uses) == 60


def test_limits_can_be_switched_off(settings: Settings) -> None:
    settings.RATE_LIMITS = False
    one = uuid4()

    assert all(passes("send", "user", one) for _ in range(LIMITS["send", "user"].max_count + 1))


def test_ended_windows_are_removed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "PRUNE_ABOVE", 10)
    counters = MemoryCounters(clock)
    for number in range(11):
        counters.consume([(str(number), RateLimit(1, 60))])
    clock.now += 60
    counters.consume([("new", RateLimit(1, 60))])

    assert list(counters._used) == ["new"]


def test_uses_pass_while_redis_is_unavailable(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    counters = RedisCounters()
    uses = [("key", RateLimit(1, 60))]

    assert [counters.consume(uses) for _ in range(50)] == [None] * 50
