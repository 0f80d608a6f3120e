"""Commands and joins are rate-limited on every transport, after the permission check."""

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from accounts import rate_limits
from accounts.errors import MaruError, NotFound, RateLimited
from accounts.models import User
from accounts.rate_limits import LIMITS, MemoryCounters, RateLimit
from accounts.services import create_token
from rooms.protocol.commands import RoomRead
from rooms.socket import snapshots
from rooms.socket.dispatch import execute
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db

LimitOnly = Callable[[str, str], None]


@pytest.fixture
def limit_only(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> LimitOnly:
    """Return a function that sets one rule to two uses per minute and removes all others."""
    settings.RATE_LIMITS = True
    counters = MemoryCounters()
    monkeypatch.setattr(rate_limits, "get_counters", lambda: counters)

    def only(action: str, kind: str) -> None:
        assert (action, kind) in LIMITS
        monkeypatch.setattr(rate_limits, "LIMITS", {(action, kind): RateLimit(2, 60)})

    return only


def refusals(*calls: Callable[[], object]) -> list[type[MaruError] | None]:
    """Call each in order; return the class of its refusal, or None."""
    found: list[type[MaruError] | None] = []
    for call in calls:
        try:
            call()
        except MaruError as error:
            found.append(type(error))
        else:
            found.append(None)
    return found


def test_socket_commands_are_limited_per_user(cast: Cast, limit_only: LimitOnly) -> None:
    limit_only(rate_limits.COMMAND, rate_limits.USER)
    command = RoomRead(room=cast.room.pk, seq=1)

    def by_member() -> object:
        return execute(command, cast.member, "en")

    assert refusals(by_member, by_member, by_member) == [None, None, RateLimited]
    assert refusals(lambda: execute(command, cast.reader, "en")) == [None]


@pytest.mark.parametrize("kind", [rate_limits.USER, rate_limits.ROOM, rate_limits.TEAM])
def test_joins_are_limited_and_a_stranger_consumes_nothing(
    cast: Cast, limit_only: LimitOnly, kind: str
) -> None:
    limit_only(rate_limits.JOIN, kind)

    def join(user: User = cast.member) -> None:
        snapshots.authorize_join(user, cast.room.pk)

    assert refusals(*[lambda: join(cast.stranger)] * 5) == [NotFound] * 5
    assert refusals(join, join, join) == [None, None, RateLimited]
    others = refusals(lambda: join(cast.reader))
    assert others == ([None] if kind == rate_limits.USER else [RateLimited])


def test_stream_counts_as_a_join(cast: Cast, limit_only: LimitOnly) -> None:
    _token, secret = create_token(user=cast.member, name="script")
    client = Client(headers={"authorization": f"Bearer {secret}"})
    limit_only(rate_limits.JOIN, rate_limits.USER)

    answers = [client.get(f"/api/v1/rooms/{cast.room.pk}/stream") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
