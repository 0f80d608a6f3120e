"""Where commands and joins are counted: on each way in, behind the gate, for each by itself."""

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
from rooms.socket.commands import carry_out
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db

Narrow = Callable[[str, str], None]


@pytest.fixture
def narrow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Narrow:
    """Let the one rule pass twice, and nothing else be counted."""
    settings.RATE_LIMITS = True
    mine = MemoryCounters()
    monkeypatch.setattr(rate_limits, "get_counters", lambda: mine)

    def only(action: str, kind: str) -> None:
        assert (action, kind) in LIMITS
        monkeypatch.setattr(rate_limits, "LIMITS", {(action, kind): RateLimit(2, 60)})

    return only


def refusals(*acts: Callable[[], object]) -> list[type[MaruError] | None]:
    """Do these things one after the other; return how each was refused."""
    found: list[type[MaruError] | None] = []
    for act in acts:
        try:
            act()
        except MaruError as error:
            found.append(type(error))
        else:
            found.append(None)
    return found


def test_commands_of_a_socket_are_counted(cast: Cast, narrow: Narrow) -> None:
    narrow(rate_limits.COMMAND, rate_limits.USER)
    command = RoomRead(room=cast.room.pk, seq=1)

    def by_member() -> object:
        return carry_out(command, cast.member, "en")

    assert refusals(by_member, by_member, by_member) == [None, None, RateLimited]
    assert refusals(lambda: carry_out(command, cast.reader, "en")) == [None]


@pytest.mark.parametrize("kind", [rate_limits.USER, rate_limits.ROOM, rate_limits.TEAM])
def test_joins_are_counted_and_strangers_use_up_nothing(
    cast: Cast, narrow: Narrow, kind: str
) -> None:
    narrow(rate_limits.JOIN, kind)

    def join(user: User = cast.member) -> None:
        snapshots.admit(user, cast.room.pk)

    assert refusals(*[lambda: join(cast.stranger)] * 5) == [NotFound] * 5
    assert refusals(join, join, join) == [None, None, RateLimited]
    others = refusals(lambda: join(cast.reader))
    assert others == ([None] if kind == rate_limits.USER else [RateLimited])


def test_stream_is_a_join(cast: Cast, narrow: Narrow) -> None:
    _token, secret = create_token(user=cast.member, name="script")
    client = Client(headers={"authorization": f"Bearer {secret}"})
    narrow(rate_limits.JOIN, rate_limits.USER)

    answers = [client.get(f"/api/v1/rooms/{cast.room.pk}/stream") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
