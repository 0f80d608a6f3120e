"""Leaving rooms that were not joined counts against the rate limit of commands."""

from uuid import uuid4

import pytest
from pytest_django import Settings

from accounts import rate_limits
from accounts.rate_limits import RateLimit
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import run_harness

pytestmark = pytest.mark.django_db(transaction=True)


async def test_leaving_unknown_rooms_is_limited_per_user(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = True
    monkeypatch.setitem(rate_limits.LIMITS, ("command", "user"), RateLimit(3, 3_600))
    async with run_harness() as harness:
        client = harness.connect(cast.member)
        answers = [await client.command("room.leave", room=str(uuid4())) for _ in range(5)]
        other = await harness.connect(cast.owner).command("room.leave", room=str(uuid4()))

    assert [answer["code"] for answer in answers] == ["not_found"] * 3 + ["rate_limited"] * 2
    assert other["code"] == "not_found"
