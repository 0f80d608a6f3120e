"""The poll of a runner."""

from uuid import uuid4

import pytest

from rooms.runs import leases, lifecycle, runner


async def test_poll_reaps_while_the_queue_is_never_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def claim_and_start(*_: object, **__: object) -> object:
        """Return runs that fail at their start; None at the tenth call."""
        calls.append("claim")
        return (uuid4(), None) if len(calls) < 10 else None

    monkeypatch.setattr(runner, "POLL_SECONDS", 0.0)  # a reap is always due
    monkeypatch.setattr(lifecycle, "claim_and_start", claim_and_start)
    monkeypatch.setattr(leases, "reap", lambda *_: calls.append("reap"))

    await runner.Runner(concurrency=1)._poll()

    assert "reap" in calls[calls.index("claim") :]
