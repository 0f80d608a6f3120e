"""Names are resolved for the runs of many teams at once, and none of them holds up another's."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from pytest_django import Settings

from agents.egress import dns as module
from agents.egress.dns import OF_A_TEAM, HostUnknown, Names
from agents.engine import warm
from agents.engine_types import Limits
from tests.agents.engine.asking import TEAM, ask, persona
from tests.deadlines import DEADLINE
from tests.provider import running

OTHER = uuid4()
FOUND = ["127.0.0.1"]


class Resolver:
    """The system's resolver; what is under `.slow` has no answer until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self._real = socket.getaddrinfo
        self._some = threading.Condition()
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: str, *rest: object, **options: object) -> object:
        with self._some:
            self.asked.append(host)
            self._some.notify_all()
        if host.endswith(".slow"):
            self.go_on.wait(DEADLINE)
        return self._real("127.0.0.1", *rest, **options)  # type: ignore[arg-type]  # as it came

    async def until_asked(self, times: int) -> None:
        """Return when so many names are being resolved, or have been."""

        def wait() -> bool:
            with self._some:
                return self._some.wait_for(lambda: len(self.asked) >= times, DEADLINE)

        assert await asyncio.get_running_loop().run_in_executor(None, wait)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver(monkeypatch)
    yield resolver
    resolver.go_on.set()


async def test_those_who_ask_for_the_same_name_at_once_share_the_answer(resolver: Resolver) -> None:
    names = Names()
    asking = [asyncio.create_task(names.find("a.slow", 443, TEAM)) for _ in range(2 * OF_A_TEAM)]
    await resolver.until_asked(1)

    asking[0].cancel()  # whoever is stopped takes the answer from nobody
    await asyncio.wait(asking[:1])
    resolver.go_on.set()

    assert await asyncio.gather(*asking[1:]) == [FOUND] * (2 * OF_A_TEAM - 1)
    assert resolver.asked == ["a.slow"]


async def test_a_name_is_known_for_a_while_and_then_asked_for_anew(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()
    for _ in range(3):
        assert await names.find("a.quick", 443, TEAM) == FOUND
    assert resolver.asked == ["a.quick"]

    monkeypatch.setattr(module, "KNOWN_SECONDS", 0)
    for _ in range(3):
        assert await names.find("b.quick", 443, TEAM) == FOUND
    assert resolver.asked == ["a.quick", "b.quick", "b.quick", "b.quick"]


async def test_who_waits_for_a_name_gives_up_in_time(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.05)

    with pytest.raises(HostUnknown):
        await Names().find("a.slow", 443, TEAM)


async def test_a_team_that_asks_for_many_slow_names_gets_a_few_and_others_all_of_theirs(
    resolver: Resolver,
) -> None:
    names = Names()
    slow = [asyncio.create_task(names.find(f"{n}.slow", 443, TEAM)) for n in range(3 * OF_A_TEAM)]
    await resolver.until_asked(OF_A_TEAM)

    assert await names.find("theirs.quick", 443, OTHER) == FOUND
    resolver.go_on.set()

    came = await asyncio.gather(*slow, return_exceptions=True)
    assert [found for found in came if not isinstance(found, HostUnknown)] == [FOUND] * OF_A_TEAM


async def test_runs_of_a_team_whose_names_are_slow_hold_up_no_run_of_another(
    resolver: Resolver, settings: Settings
) -> None:
    await warm()
    with running() as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})
        once = Limits(seconds=DEADLINE, tries=1)
        slow = [
            asyncio.create_task(ask(persona(f"http://{n}.slow:9/v1", "echo"), limits=once))
            for n in range(40)
        ]
        await resolver.until_asked(OF_A_TEAM)

        heard = await ask(persona(provider.base_url, "echo", team_id=OTHER), limits=once)

        assert heard.failed is None
        for task in slow:
            task.cancel()
        resolver.go_on.set()
        await asyncio.wait(slow)


async def test_a_name_with_several_addresses_is_tried_at_the_next_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.engine import answer_stream

    monkeypatch.setattr(answer_stream, "FIRST_WAIT", 0.005)
    with running() as provider:
        both = [(0, 0, 0, "", (address, provider.port)) for address in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        settings.EGRESS_ALLOW = frozenset({f"models.example:{provider.port}"})

        heard = await ask(persona(f"http://models.example:{provider.port}/v1", "tokens-2"))

    assert heard.text == "t0 t1 "
