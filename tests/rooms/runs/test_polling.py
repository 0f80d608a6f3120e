"""A runner that looks at the queue does not forget the rest over it."""

from uuid import uuid4

import pytest

from rooms.runs import leases, lifecycle, runner


async def test_the_dead_are_swept_though_somebody_always_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def claim_and_start(*_: object, **__: object) -> object:
        """One run after the other, each refused at its start, until there is none."""
        done.append("claim")
        return (uuid4(), None) if len(done) < 10 else None

    monkeypatch.setattr(runner, "POLL_SECONDS", 0.0)  # a sweep is always due
    monkeypatch.setattr(lifecycle, "claim_and_start", claim_and_start)
    monkeypatch.setattr(leases, "reap", lambda *_: done.append("sweep"))

    await runner.Runner(concurrency=1)._poll()

    assert "sweep" in done[done.index("claim") :]
