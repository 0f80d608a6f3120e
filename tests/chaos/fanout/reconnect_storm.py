"""Many browsers connect at once, and reconnect when their web process is replaced.

They behave as static/rooms/connection/socket.js does: they have a session cookie, and after close
code 1012 they reconnect at a random moment within three seconds.
"""

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.bench.report.figures import percentile
from tests.chaos.target import Outcome
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.recording_client import gather_or_cancel
from tests.live import CLIENT_OPTIONS, MARU_V1, Installation, PopulatedRoom, Socket
from tests.provider import Provider
from tests.wire.timeline import Timeline

ROOMS, MEMBERS = 4, 25
MODEL, WHOLE = "tokens-120@10", " ".join(f"t{n}" for n in range(120))
RESTARTING = 1012
SPREAD = 3.0

CREATE_SESSIONS = """
import json
from tests.cluster.harness.sessions import create_sessions
print(json.dumps(create_sessions({users})))
"""


def _sign_in(cluster: Cluster, users: list[str]) -> list[str]:
    """Return a session cookie for each user."""
    code = CREATE_SESSIONS.format(users=users)
    printed = cluster.manage("shell", "--no-imports", "-c", code)
    cookies: list[str] = json.loads(printed.splitlines()[-1])
    return cookies


@asynccontextmanager
async def page(web: Installation, cookie: str) -> AsyncIterator[Socket]:
    """Open a socket as a browser does, with a cookie and an Origin header."""
    async with connect(
        f"ws://127.0.0.1:{web.port}/ws/",
        additional_headers={"Cookie": cookie, "Origin": web.url},
        subprotocols=[MARU_V1],
        **CLIENT_OPTIONS,
    ) as connection:
        yield Socket(connection)


@dataclass
class Browser:
    """A page in one room, which applies the frames that it receives.

    `run` is the answer that streams in this room when the web process ends, if any.
    """

    room: PopulatedRoom
    cookie: str
    timeline: Timeline = field(default_factory=Timeline)
    run: str | None = None
    close_code: int | None = None
    closed_at: float = 0.0
    seconds_away: float = 0.0
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, web: Installation, stack: AsyncExitStack) -> Socket:
        """Connect and join the room."""
        socket = await stack.enter_async_context(page(web, self.cookie))
        self.timeline.apply(await socket.join(self.room.id))
        return socket

    async def follow(self, socket: Socket, next_web: Installation) -> None:
        """Receive until the socket is closed, then reconnect to another web process."""
        try:
            with suppress(ConnectionClosed):
                while True:
                    self.timeline.apply(await socket.receive())
                    socket.frames.clear()
            self.close_code, self.closed_at = socket.connection.close_code, time.monotonic()
        finally:
            self.disconnected.set()
        await self._reconnect(next_web)

    async def _reconnect(self, web: Installation) -> None:
        """Resume from the last received event and receive the answer to its end."""
        await asyncio.sleep(random.uniform(0, SPREAD))
        async with page(web, self.cookie) as socket:
            self.timeline.apply(
                await socket.command("room.join", room=self.room.id, **self.timeline.join())
            )
            self.seconds_away = time.monotonic() - self.closed_at
            while self.run is not None and self.run not in self.timeline.ended:
                self.timeline.apply(await socket.receive())
                assert not self.timeline.gap

    def violations(self) -> list[str]:
        """Return what was wrong with the close code and with the answer."""
        wrong = [] if self.close_code == RESTARTING else [f"closed with {self.close_code}"]
        if self.run is not None:
            ended = self.timeline.ended[self.run]
            if ended.stored != WHOLE or not f"{WHOLE} ".startswith(ended.assembled):
                wrong.append(f"the deltas end with {ended.assembled[-40:]!r}")
            if ended.received_to_the_end and ended.assembled.rstrip() != WHOLE:
                wrong.append(f"received to the end, deltas end with {ended.assembled[-40:]!r}")
        return wrong

    @property
    def received_live(self) -> bool:
        """True if the answer was received to its end as live events, across the restart."""
        return self.run is not None and self.timeline.ended[self.run].received_to_the_end


async def storm(cluster: Cluster, provider: Provider, *, sockets: int) -> Outcome:
    """Connect all browsers to one web process, stop it during an answer, let all reconnect.

    One of the rooms has the answer; the browsers of the other rooms must only reconnect.
    """
    options = ("--provider", provider.base_url, "--model", MODEL)
    rooms = await asyncio.to_thread(cluster.populate, ROOMS, MEMBERS, *options)
    browsers = await asyncio.to_thread(_browsers, cluster, rooms, sockets)
    ending, staying = cluster.webs
    async with AsyncExitStack() as stack:
        began = time.monotonic()
        opened = await gather_or_cancel(browser.open(ending, stack) for browser in browsers)
        joining = time.monotonic() - began
        following = asyncio.create_task(
            gather_or_cancel(
                browser.follow(socket, staying)
                for browser, socket in zip(browsers, opened, strict=True)
            )
        )
        asker = await stack.enter_async_context(staying.socket(rooms[0].members[0]))
        await _ask(asker, rooms[0], browsers)
        stopping = asyncio.create_task(asyncio.to_thread(ending.stop, signal.SIGTERM))
        await browsers[0].disconnected.wait()
        still_open = await _accepts_connections(ending.port)
        await following
        await stopping
    await asyncio.to_thread(ending.start)
    away = [browser.seconds_away for browser in browsers]
    return Outcome(
        {
            "sockets with sessions": sockets,
            "until all had joined (s)": joining,
            "connects and joins per second": sockets / joining,
            "disconnected at a restart, p95 (s)": percentile(away, 0.95),
            "disconnected at a restart, longest (s)": max(away),
            "answers resumed after the restart": sum(b.run is not None for b in browsers),
            "of these, received live to the end": sum(b.received_live for b in browsers),
        },
        [
            *(["the ending process accepts new connections"] if still_open else []),
            *(f"room {b.room.id}: {what}" for b in browsers for what in b.violations()),
        ],
    )


def _browsers(cluster: Cluster, rooms: list[PopulatedRoom], sockets: int) -> list[Browser]:
    """Return `sockets` browsers; several share a session if there are more sockets than members."""
    people = [(room, person.user) for room in rooms for person in room.members]
    cookies = _sign_in(cluster, [user for _room, user in people])
    pages = [(room, cookie) for (room, _user), cookie in zip(people, cookies, strict=True)]
    random.shuffle(pages)
    return [Browser(*one) for one in islice(cycle(pages), sockets)]


async def _ask(asker: Socket, room: PopulatedRoom, browsers: list[Browser]) -> None:
    """Ask in the room and return when the answer is streaming."""
    persona = (await asker.join(room.id))["state"]["personas"][0]["id"]
    (run,) = (await asker.say(room.id, "Go on.", personas=[persona]))["result"]["runs"]
    for browser in browsers:
        if browser.room is room:
            browser.run = run
    await asker.until(lambda _: len(asker.of_type("message.delta")) > 5)


async def _accepts_connections(port: int) -> bool:
    try:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
