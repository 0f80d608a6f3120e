"""Name resolution: shared, cached, limited per team, and with a timeout."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from pytest_django import Settings

from agents.egress import dns
from agents.egress.dns import MAX_PENDING_PER_TEAM, HostUnknown, Resolver
from agents.engine import warm
from agents.engine_types import Limits
from tests.agents.engine.answers import TEAM, ask, persona
from tests.deadlines import DEADLINE
from tests.provider import running

OTHER = uuid4()
FOUND = ["127.0.0.1"]


class FakeResolver:
    """Fakes `getaddrinfo`: every name is 127.0.0.1, and `*.slow` waits until `release` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.release = threading.Event()
        self._real = socket.getaddrinfo
        self._changed = threading.Condition()
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: str, *rest: object, **options: object) -> object:
        with self._changed:
            self.names.append(host)
            self._changed.notify_all()
        if host.endswith(".slow"):
            self.release.wait(DEADLINE)
        return self._real("127.0.0.1", *rest, **options)  # type: ignore[arg-type]  # passed through

    async def until_called(self, times: int) -> None:
        """Wait until `getaddrinfo` has been called `times` times."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self.names) >= times, DEADLINE)

        assert await asyncio.get_running_loop().run_in_executor(None, wait)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeResolver]:
    system = FakeResolver(monkeypatch)
    yield system
    system.release.set()


async def test_concurrent_calls_for_one_name_share_one_lookup(system: FakeResolver) -> None:
    resolver = Resolver()
    calls = [
        asyncio.create_task(resolver.resolve("a.slow", 443, TEAM))
        for _ in range(2 * MAX_PENDING_PER_TEAM)
    ]
    await system.until_called(1)

    calls[0].cancel()  # one cancelled call does not cancel the lookup
    await asyncio.wait(calls[:1])
    system.release.set()

    assert await asyncio.gather(*calls[1:]) == [FOUND] * (2 * MAX_PENDING_PER_TEAM - 1)
    assert system.names == ["a.slow"]


async def test_addresses_are_cached_and_then_resolved_again(
    system: FakeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()
    for _ in range(3):
        assert await resolver.resolve("a.quick", 443, TEAM) == FOUND
    assert system.names == ["a.quick"]

    monkeypatch.setattr(dns, "CACHE_SECONDS", 0)
    for _ in range(3):
        assert await resolver.resolve("b.quick", 443, TEAM) == FOUND
    assert system.names == ["a.quick", "b.quick", "b.quick", "b.quick"]


async def test_a_slow_name_is_unknown_after_the_timeout(
    system: FakeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "TIMEOUT_SECONDS", 0.05)

    with pytest.raises(HostUnknown):
        await Resolver().resolve("a.slow", 443, TEAM)


async def test_a_team_has_few_pending_lookups_and_does_not_block_another_team(
    system: FakeResolver,
) -> None:
    resolver = Resolver()
    slow = [
        asyncio.create_task(resolver.resolve(f"{n}.slow", 443, TEAM))
        for n in range(3 * MAX_PENDING_PER_TEAM)
    ]
    await system.until_called(MAX_PENDING_PER_TEAM)

    assert await resolver.resolve("other.quick", 443, OTHER) == FOUND
    system.release.set()

    results = await asyncio.gather(*slow, return_exceptions=True)
    assert [found for found in results if not isinstance(found, HostUnknown)] == [
        FOUND
    ] * MAX_PENDING_PER_TEAM


async def test_runs_with_slow_names_do_not_delay_a_run_of_another_team(
    system: FakeResolver, settings: Settings
) -> None:
    await warm()
    with running() as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        one_attempt = Limits(seconds=DEADLINE, max_attempts=1)
        slow = [
            asyncio.create_task(ask(persona(f"http://{n}.slow:9/v1", "echo"), limits=one_attempt))
            for n in range(40)
        ]
        await system.until_called(MAX_PENDING_PER_TEAM)

        result = await ask(persona(provider.base_url, "echo", team_id=OTHER), limits=one_attempt)

        assert result.failed is None
        for task in slow:
            task.cancel()
        system.release.set()
        await asyncio.wait(slow)


async def test_the_second_attempt_uses_the_next_address_of_a_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.engine import answer_stream

    monkeypatch.setattr(answer_stream, "FIRST_BACKOFF_SECONDS", 0.005)
    with running() as provider:
        both = [(0, 0, 0, "", (address, provider.port)) for address in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        settings.EGRESS_ALLOW = frozenset({f"models.example:{provider.port}"})

        result = await ask(persona(f"http://models.example:{provider.port}/v1", "tokens-2"))

    assert result.text == "t0 t1 "
