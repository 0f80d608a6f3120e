"""All come at once, and a web process goes: nobody is turned away, every answer arrives whole."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.cluster.cluster import Cluster
from tests.live import MARU_V1, Installation, PopulatedRoom, Socket
from tests.provider import Provider
from tests.wire.timeline import Timeline

AT_ONCE = 300
PEOPLE = 30
STAYING = 25
MODEL, WHOLE = "tokens-120@40", " ".join(f"t{n}" for n in range(120))
RESTARTING = 1012

SIGN_IN = """
import json
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from accounts.models import User
keys = []
for user in User.objects.filter(pk__in={users}):
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    keys.append(session.session_key)
print(json.dumps(keys))
"""


@pytest.fixture(scope="module")
def room(cluster: Cluster, provider: Provider) -> PopulatedRoom:
    options = ("--provider", provider.base_url, "--model", MODEL)
    return cluster.populate(1, PEOPLE, *options)[0]


@pytest.fixture(scope="module")
def sessions(cluster: Cluster, room: PopulatedRoom) -> list[str]:
    """A session of each member, as if they had signed in."""
    users = [person.user for person in room.members]
    printed = cluster.manage("shell", "--no-imports", "-c", SIGN_IN.format(users=users))
    keys: list[str] = json.loads(printed.splitlines()[-1])
    assert len(keys) == PEOPLE
    return keys


@asynccontextmanager
async def page(web: Installation, session: str) -> AsyncIterator[Socket]:
    """A socket as a browser opens it."""
    async with connect(
        f"ws://127.0.0.1:{web.port}/ws/",
        additional_headers={"Cookie": f"maru_session={session}", "Origin": web.url},
        subprotocols=[MARU_V1],
        max_size=None,
        proxy=None,
        open_timeout=60,
    ) as connection:
        yield Socket(connection)


async def test_hundreds_of_pages_come_at_once_and_nobody_is_turned_away(
    cluster: Cluster, room: PopulatedRoom, sessions: list[str]
) -> None:
    web = cluster.webs[0]

    async with AsyncExitStack() as stack:

        async def come(session: str) -> str:
            socket = await stack.enter_async_context(page(web, session))
            return str((await socket.join(room.id))["type"])

        came = await asyncio.gather(*(come(key) for key in islice(cycle(sessions), AT_ONCE)))

    assert came == ["room.snapshot"] * AT_ONCE
    assert "redis.away" not in web.output
    assert "Traceback" not in web.output


@dataclass
class Follower:
    """Somebody with a page on the process that is about to end."""

    room: PopulatedRoom
    session: str
    timeline: Timeline
    code: int | None = None

    async def follow(self, socket: Socket) -> None:
        """Hear until the socket is closed."""
        with suppress(ConnectionClosed):
            while True:
                self.timeline.apply(await socket.receive())
        self.code = socket.connection.close_code

    async def come_back(self, web: Installation, run: str) -> None:
        """Go on where it was, and hear the end."""
        async with page(web, self.session) as socket:
            self.timeline.apply(
                await socket.command("room.join", room=self.room.id, **self.timeline.join())
            )
            while run not in self.timeline.ended:
                self.timeline.apply(await socket.receive())
                assert not self.timeline.hole


async def test_web_process_that_ends_says_so_and_the_answer_goes_on_at_the_other(
    cluster: Cluster, room: PopulatedRoom, sessions: list[str]
) -> None:
    ending, staying = cluster.webs
    async with AsyncExitStack() as stack:
        witness = await stack.enter_async_context(page(staying, sessions[0]))
        persona = (await witness.join(room.id))["state"]["personas"][0]["id"]
        followers, followed = [], []
        for session in sessions[:STAYING]:
            socket = await stack.enter_async_context(page(ending, session))
            follower = Follower(room, session, Timeline())
            follower.timeline.apply(await socket.join(room.id))
            followers.append(follower)
            followed.append(asyncio.create_task(follower.follow(socket)))
        (run,) = (await witness.say(room.id, "Go on.", personas=[persona]))["result"]["runs"]
        await witness.until(lambda _: len(witness.of_type("message.delta")) > 5)

        stopping = asyncio.create_task(asyncio.to_thread(ending.stop, signal.SIGTERM))
        await asyncio.gather(*followed)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", ending.port)
        await asyncio.gather(*(follower.come_back(staying, run) for follower in followers))
        await stopping
    await asyncio.to_thread(ending.start)

    assert [follower.code for follower in followers] == [RESTARTING] * STAYING
    for follower in followers:
        ended = follower.timeline.ended[run]
        assert (ended.stored, ended.assembled.rstrip()) == (WHOLE, WHOLE)
    assert "Traceback" not in ending.output
