"""Two web processes behind the proxy: sign-in, sockets, and the death of one process."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from threading import Event, Thread
from typing import Self

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE, scaled
from tests.deploy.proxy import NAME, Nginx, missing
from tests.live import CLIENT_OPTIONS, MARU_V1, PopulatedRoom, Socket, until
from tests.provider import Provider

LONG = "tokens-300@50"
AT_ONCE = scaled(5)
EMAIL, PASSWORD = "owner@example.com", "ondol-warms-the-floor"

pytestmark = pytest.mark.skipif(bool(missing()), reason="not installed: nginx")


@pytest.fixture(scope="module")
def proxy() -> Nginx:
    """A proxy with a fixed port, which the web processes need for their public address."""
    return Nginx()


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: Postgres,
    redis: Redis,
    provider: Provider,
    proxy: Nginx,
) -> Iterator[Cluster]:
    """Two web processes and a worker behind the proxy."""
    cluster = Cluster(
        tmp_path_factory.mktemp("behind"),
        postgres,
        redis,
        MARU_EGRESS_ALLOW=provider.address,
        MARU_PUBLIC_URL=proxy.origin,
        MARU_TRUSTED_PROXIES="127.0.0.1",
    )
    proxy.web_ports = [web.port for web in cluster.webs]
    with cluster, proxy:
        yield cluster


@pytest.fixture(scope="module")
def owner(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Create the first account and return its e-mail address."""
    password = tmp_path_factory.mktemp("owner") / "password"
    password.write_text(PASSWORD)
    named = ("--email", EMAIL, "--team", "Team", "--password-file", str(password))
    cluster.manage("bootstrap", *named)
    return EMAIL


@pytest.fixture(scope="module")
def room(cluster: Cluster, provider: Provider, owner: str) -> PopulatedRoom:
    return cluster.populate(1, 2, "--provider", provider.base_url, "--model", LONG)[0]


@asynccontextmanager
async def socket(proxy: Nginx, **headers: str) -> AsyncIterator[Socket]:
    """Open a WebSocket at the public address."""
    async with connect(
        f"wss://{NAME}:{proxy.port}/ws/",
        host="127.0.0.1",
        port=proxy.port,
        ssl=proxy.trusting(),
        additional_headers=headers,
        subprotocols=[MARU_V1],
        **CLIENT_OPTIONS,
    ) as connection:
        yield Socket(connection)


def sign_in(visitor: httpx.Client, proxy: Nginx, email: str) -> httpx.Response:
    """Submit the sign-in form as a browser does."""
    form = visitor.get("/accounts/login/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    assert token is not None
    fields = {"login": email, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    origin = {"Origin": proxy.origin, "Referer": f"{proxy.origin}/accounts/login/"}
    return visitor.post("/accounts/login/", data=fields, headers=origin)


async def test_user_signs_in_over_https_and_sends_over_the_socket(
    cluster: Cluster, proxy: Nginx, owner: str
) -> None:
    with proxy.client() as visitor:
        answer = sign_in(visitor, proxy, owner)
        cookies = answer.headers.get_list("Set-Cookie")
        home = visitor.get("/")
        key = visitor.cookies["maru_session"]

    found = re.search(r'href="/rooms/([0-9a-f-]{36})/"', home.text)
    assert found is not None
    room = found[1]
    async with socket(proxy, Cookie=f"maru_session={key}", Origin=proxy.origin) as opened:
        joined = await opened.join(room)
        done = await opened.say(room, "Hello through the proxy.", personas=[])

    assert answer.status_code == 302
    assert all("Secure" in cookie for cookie in cookies)
    assert "max-age" in home.headers["Strict-Transport-Security"]
    assert joined["type"] == "room.snapshot"
    assert done["type"] == "command.done"


async def test_socket_from_a_foreign_page_is_refused(cluster: Cluster, proxy: Nginx) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with socket(proxy, Origin="https://evil.example"):
            pass


def holders(cluster: Cluster) -> list[int]:
    """Return the number of the web process of each open socket."""
    found = []
    for number, web in enumerate(cluster.webs):
        metrics = httpx.get(f"{web.url}/metrics", trust_env=False).text
        found += [number] * int(metrics.split("\nmaru_sockets ")[1].split(".")[0])
    return found


async def holders_of(cluster: Cluster, sockets: int) -> list[int]:
    """Wait until `sockets` sockets are open, then return their web processes."""
    await asyncio.to_thread(until, lambda: len(holders(cluster)) == sockets)
    return holders(cluster)


async def test_answer_continues_on_another_web_process_after_a_kill(
    cluster: Cluster, proxy: Nginx, room: PopulatedRoom
) -> None:
    first, second = ({"Authorization": f"Bearer {person.token}"} for person in room.members)
    await holders_of(cluster, 0)
    async with socket(proxy, **first) as lost:
        (killed,) = await holders_of(cluster, 1)
        async with socket(proxy, **second) as kept:
            assert await holders_of(cluster, 2) == [0, 1]
            await lost.join(room.id)
            await kept.join(room.id)
            await lost.say(room.id, "Go on.")
            await kept.until_type("message.delta")

            cluster.webs[killed].stop(signal.SIGKILL)
            with pytest.raises(ConnectionClosedError):
                await lost.until_type("message.completed")
            async with socket(proxy, **first) as again:
                (live,) = (await again.join(room.id))["live"]
                ended = [await one.until_type("message.completed") for one in (kept, again)]
    with proxy.client() as visitor:
        statuses = [visitor.get("/accounts/login/").status_code for _ in range(10)]
    cluster.webs[killed].start()

    whole = "".join(f"t{number} " for number in range(300))
    assert live["text"] + text_of(again) == text_of(kept) == whole
    assert len(again.of_type("message.delta")) > 1
    assert [answer["message"]["text"] for answer in ended] == [whole.rstrip()] * 2
    assert statuses == [200] * 10


def is_in_use(cluster: Cluster, number: int) -> bool:
    """Return True if a web process has an open socket or event stream."""
    return number in holders(cluster)


class Load:
    """Reads and posts through the proxy, from two threads, until it is stopped."""

    def __init__(self, proxy: Nginx, room: PopulatedRoom) -> None:
        self.proxy, self.room = proxy, room
        self.statuses = Counter[tuple[str, int]]()
        self.running, self.over = Event(), Event()
        self._idle = [Event(), Event()]

    def _work(self, method: str, idle: Event) -> None:
        path = f"/api/v1/rooms/{self.room.id}/messages"
        body = {"text": "during the upgrade", "personas": []} if method == "POST" else None
        token = self.room.members[0].token
        with self.proxy.client() as client:
            while not self.over.is_set():
                if not self.running.is_set():
                    idle.set()
                    self.running.wait(0.05)
                    continue
                idle.clear()
                headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
                answer = client.request(method, path, json=body, headers=headers)
                self.statuses[method, answer.status_code] += 1

    def pause(self) -> None:
        """Return when no request is open."""
        self.running.clear()
        for idle in self._idle:
            assert idle.wait(DEADLINE)

    def resume(self, requests: int = 10) -> None:
        """Return after some more requests of each kind."""
        wanted = {method: self._done(method) + requests for method in ("GET", "POST")}
        self.running.set()
        until(lambda: all(self._done(method) >= wanted[method] for method in wanted))

    def _done(self, method: str) -> int:
        return sum(n for (each, _status), n in list(self.statuses.items()) if each == method)

    def __enter__(self) -> Self:
        self.threads = [
            Thread(target=self._work, args=each)
            for each in zip(("GET", "POST"), self._idle, strict=True)
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


async def test_rolling_upgrade_loses_no_request(
    cluster: Cluster, proxy: Nginx, room: PopulatedRoom
) -> None:
    credentials = {"Authorization": f"Bearer {room.members[0].token}"}
    path = f"/api/v1/rooms/{room.id}/stream?after=0"
    await holders_of(cluster, 0)
    async with AsyncExitStack() as sockets:
        streams = sockets.enter_context(ExitStack())
        load = sockets.enter_context(Load(proxy, room))
        for number, web in enumerate(cluster.webs):
            await asyncio.to_thread(load.resume)
            await asyncio.to_thread(web.stop)  # the load goes on
            await asyncio.to_thread(load.resume)
            await asyncio.to_thread(load.pause)
            await asyncio.to_thread(web.start)

            # Its first requests do not end: nginx spreads them over both processes.
            for _ in range(2):
                client = streams.enter_context(proxy.client())
                stream = streams.enter_context(client.stream("GET", path, headers=credentials))
                assert await asyncio.to_thread(next, stream.iter_raw())
                await sockets.enter_async_context(socket(proxy, **credentials))
            await asyncio.to_thread(until, partial(is_in_use, cluster, number), AT_ONCE)
        await asyncio.to_thread(load.resume)

    assert {status for _method, status in load.statuses} == {200, 201}


def text_of(socket: Socket) -> str:
    return "".join(delta["text"] for delta in socket.of_type("message.delta"))
