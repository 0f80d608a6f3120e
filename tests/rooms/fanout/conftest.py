"""The harness that several modules use."""

from collections.abc import AsyncIterator

import pytest
from pytest_django import Settings

from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import Harness, run_harness


@pytest.fixture
async def harness(cast: Cast, settings: Settings) -> AsyncIterator[Harness]:
    settings.RATE_LIMITS = False
    async with run_harness() as opened:
        yield opened
