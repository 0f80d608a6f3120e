"""The clock: the time in a zone, and a clear failure without one."""

from datetime import UTC, datetime

import pytest
import time_machine

from agents.tools import clock


@pytest.mark.parametrize(
    ("arguments", "text", "short"),
    [
        ({}, "Tuesday 2026-06-30T23:05:00+00:00 (UTC)", "23:05 UTC"),
        ({"zone": "Asia/Seoul"}, "Wednesday 2026-07-01T08:05:00+09:00 (Asia/Seoul)", "08:05 KST"),
        (
            {"zone": "Europe/Paris"},
            "Wednesday 2026-07-01T01:05:00+02:00 (Europe/Paris)",
            "01:05 CEST",
        ),
    ],
)
async def test_the_time_is_that_of_the_zone(
    arguments: dict[str, str], text: str, short: str
) -> None:
    with time_machine.travel(datetime(2026, 6, 30, 23, 5, tzinfo=UTC), tick=False):
        result = await clock.run(arguments)

    assert (result.text, result.short, result.failed) == (text, short, False)


@pytest.mark.parametrize(
    "zone",
    ["Mars/Base", "../../etc/passwd", "/etc/passwd", "Asia", "a\0b", "x" * 5000, "서울", "."],
)
async def test_an_unknown_zone_is_a_failure(zone: str) -> None:
    result = await clock.run({"zone": zone})

    assert result.failed
    assert "no time zone" in result.text
