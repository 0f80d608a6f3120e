"""All come at once with their sessions, and all come back when a web process is replaced: REC-02.

They come as browsers do: with a cookie, and after a close of 1012 at a random moment of three
seconds, as static/rooms/connection/socket.js has it.
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
from tests.cluster.harness.recording_client import together
from tests.live import CLIENT_OPTIONS, MARU_V1, Installation, PopulatedRoom, Socket
from tests.provider import Provider
from tests.wire.timeline import Timeline

ROOMS, PEOPLE = 4, 25
MODEL, WHOLE = "tokens-120@10", " ".join(f"t{n}" for n in range(120))
RESTARTING = 1012
SPREAD = 3.0

SIGN_IN = """
import json
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from accounts.models import User
keys = []
for pk in {users}:
    user = User.objects.get(pk=pk)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    keys.append(session.session_key)
print(json.dumps(keys))
"""


def _sign_in(cluster: Cluster, users: list[str]) -> list[str]:
    """Return a session of each user, as if they had signed in."""
    printed = cluster.manage("shell", "--no-imports", "-c", SIGN_IN.format(users=users))
    keys: list[str] = json.loads(printed.splitlines()[-1])
    return keys


@asynccontextmanager
async def page(web: Installation, session: str) -> AsyncIterator[Socket]:
    """Open a socket as a browser does."""
    async with connect(
        f"ws://127.0.0.1:{web.port}/ws/",
        additional_headers={"Cookie": f"maru_session={session}", "Origin": web.url},
        subprotocols=[MARU_V1],
        **CLIENT_OPTIONS,
    ) as connection:
        yield Socket(connection)


@dataclass
class Follower:
    """Somebody with a page in a room; what they are told is applied as a page does.

    `run` is the answer that goes on in this room when the process ends, if any.
    """

    room: PopulatedRoom
    session: str
    timeline: Timeline = field(default_factory=Timeline)
    run: str | None = None
    code: int | None = None
    closed: float = 0.0
    away: float = 0.0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def come(self, web: Installation, stack: AsyncExitStack) -> Socket:
        """Open a page and join."""
        socket = await stack.enter_async_context(page(web, self.session))
        self.timeline.apply(await socket.join(self.room.id))
        return socket

    async def live_on(self, socket: Socket, web: Installation) -> None:
        """Hear until the socket is closed, and come back to another process."""
        try:
            await self._follow(socket)
        finally:
            self.gone.set()
        await self._come_back(web)

    async def _follow(self, socket: Socket) -> None:
        with suppress(ConnectionClosed):
            while True:
                self.timeline.apply(await socket.receive())
                socket.frames.clear()
        self.code, self.closed = socket.connection.close_code, time.monotonic()

    async def _come_back(self, web: Installation) -> None:
        """Go on where it was, a moment later, and hear the answer to its end."""
        await asyncio.sleep(random.uniform(0, SPREAD))
        async with page(web, self.session) as socket:
            self.timeline.apply(
                await socket.command("room.join", room=self.room.id, **self.timeline.join())
            )
            self.away = time.monotonic() - self.closed
            while self.run is not None and self.run not in self.timeline.ended:
                self.timeline.apply(await socket.receive())
                assert not self.timeline.hole

    def complaints(self) -> list[str]:
        """Say what was wrong with the close, and with the answer that went on meanwhile."""
        wrong = [] if self.code == RESTARTING else [f"closed with {self.code}"]
        if self.run is not None:
            ended = self.timeline.ended[self.run]
            if ended.stored != WHOLE or not f"{WHOLE} ".startswith(ended.assembled):
                wrong.append(f"put together …{ended.assembled[-40:]!r}")
            if ended.heard_to_the_end and ended.assembled.rstrip() != WHOLE:
                wrong.append(f"heard to the end, and put together …{ended.assembled[-40:]!r}")
        return wrong

    @property
    def heard_all(self) -> bool:
        """Whether every word was heard as it was said, before and after the restart."""
        return self.run is not None and self.timeline.ended[self.run].heard_to_the_end


async def storm(cluster: Cluster, provider: Provider, *, sockets: int) -> Outcome:
    """Have all come to one web process at once, end it in the middle of an answer, all return.

    One room of several has the answer; of the others it is enough that all are there again.
    """
    options = ("--provider", provider.base_url, "--model", MODEL)
    rooms = await asyncio.to_thread(cluster.populate, ROOMS, PEOPLE, *options)
    followers = await asyncio.to_thread(_sign_all_in, cluster, rooms, sockets)
    ending, staying = cluster.webs
    async with AsyncExitStack() as stack:
        began = time.monotonic()
        opened = await together(one.come(ending, stack) for one in followers)
        joining = time.monotonic() - began
        living = asyncio.create_task(
            together(
                one.live_on(socket, staying) for one, socket in zip(followers, opened, strict=True)
            )
        )
        asking = await stack.enter_async_context(staying.socket(rooms[0].members[0]))
        await _ask(asking, rooms[0], followers)
        stopping = asyncio.create_task(asyncio.to_thread(ending.stop, signal.SIGTERM))
        await followers[0].gone.wait()
        still_open = await _is_open(ending.port)
        await living
        await stopping
    await asyncio.to_thread(ending.start)
    return Outcome(
        {
            "sockets with sessions": sockets,
            "until all had joined (s)": joining,
            "connects and joins a second": sockets / joining,
            "away at a restart, p95 (s)": percentile([one.away for one in followers], 0.95),
            "away at a restart, longest (s)": max(one.away for one in followers),
            "answers gone on with after it": sum(one.run is not None for one in followers),
            "of these, heard to the end": sum(one.heard_all for one in followers),
        },
        [
            *(["the process that ends takes new connections"] if still_open else []),
            *(f"{one.room.id}: {what}" for one in followers for what in one.complaints()),
        ],
    )


def _sign_all_in(cluster: Cluster, rooms: list[PopulatedRoom], sockets: int) -> list[Follower]:
    """Return so many pages, of all members in turn."""
    people = [(room, person.user) for room in rooms for person in room.members]
    sessions = _sign_in(cluster, [user for _room, user in people])
    places = [(room, key) for (room, _user), key in zip(people, sessions, strict=True)]
    random.shuffle(places)
    return [Follower(*place) for place in islice(cycle(places), sockets)]


async def _ask(asking: Socket, room: PopulatedRoom, followers: list[Follower]) -> None:
    """Ask in the room; return once the answer has begun."""
    persona = (await asking.join(room.id))["state"]["personas"][0]["id"]
    (run,) = (await asking.say(room.id, "Go on.", personas=[persona]))["result"]["runs"]
    for one in followers:
        if one.room is room:
            one.run = run
    await asking.until(lambda _: len(asking.of_type("message.delta")) > 5)


async def _is_open(port: int) -> bool:
    try:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
