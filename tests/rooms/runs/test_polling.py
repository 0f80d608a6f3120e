"""The poll of a runner."""

from uuid import uuid4

import pytest

from rooms.runs import claims, leases, lifecycle, runner
from rooms.runs.claims import Claim
from rooms.runs.steps import waiting


async def test_poll_reaps_while_the_queue_is_never_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def claim(*_: object, **__: object) -> list[Claim]:
        """Return runs that fail at their start; none at the tenth call."""
        calls.append("claim")
        return [Claim(uuid4(), uuid4(), 1)] if calls.count("claim") < 10 else []

    for interval in ("POLL_SECONDS", "EXPIRE_SECONDS"):
        monkeypatch.setattr(runner, interval, 0.0)  # always due
    monkeypatch.setattr(runner, "MAX_STARTING", 10)
    monkeypatch.setattr(claims, "claim", claim)
    monkeypatch.setattr(lifecycle, "start", lambda *_: [])
    monkeypatch.setattr(leases, "reap", lambda *_: calls.append("reap"))
    monkeypatch.setattr(waiting, "expire", lambda: calls.append("expire"))

    await runner.Runner(concurrency=10)._poll()

    assert {"reap", "expire"} <= {*calls[calls.index("claim") :]}
