"""Clients that do not read, do not answer, or send too much are closed; others are not affected."""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rooms.socket.handshake import MAX_CONNECTIONS_PER_USER
from tests.deadlines import DEADLINE, scaled
from tests.live import (
    MARU_V1,
    Frame,
    Installation,
    LimitedInstallation,
    Person,
    PopulatedRoom,
    Socket,
)
from tests.wire.event_stream import event_stream

LARGE = "마" * 16_000
MESSAGES, SHOWN = 90, 50
MIB = 1024 * 1024
HUGE_FRAMES, SENT_OF_EACH = 8, 8 * MIB
BOMB = 60 * MIB
CONNECTION = "rooms.fanout.connection"
STUCK, ABORT = f"{CONNECTION}.STUCK_SECONDS", f"{CONNECTION}.ABORT_SECONDS"
PING = "maru.server.process.PING_SECONDS"


@pytest.fixture(scope="module")
def quick_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server that closes a client after a second without reads, and for no other reason."""
    folder = tmp_path_factory.mktemp("impatient")
    limits = {STUCK: scaled(1), ABORT: 3_600, PING: 3_600}
    with LimitedInstallation(folder, limits) as installation:
        yield installation


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("limited"), MARU_RATE_LIMITS="on") as installation:
        yield installation


@pytest.fixture
def room(quick_server: Installation) -> PopulatedRoom:
    return quick_server.populate(1, 3)[0]


@asynccontextmanager
async def narrow(
    installation: Installation, person: Person, port: int | None = None
) -> AsyncIterator[Socket]:
    """Connect a client with small buffers: almost nothing is received unless the test reads."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.setblocking(False)
        port = port or installation.port
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        async with connect(
            f"ws://127.0.0.1:{installation.port}/ws/",
            sock=raw,
            additional_headers={"Authorization": f"Bearer {person.token}"},
            subprotocols=[MARU_V1],
            max_size=None,
            max_queue=1,
            ping_interval=None,
            open_timeout=DEADLINE,
            close_timeout=0.1,
        ) as connection:
            yield Socket(connection)


async def post_many(sender: Socket, room: PopulatedRoom) -> list[int]:
    """Post more than a connection may lag behind; return the seqs."""
    seqs = []
    for _ in range(MESSAGES):
        done = await sender.say(room.id, LARGE, personas=[])
        seqs.append(done["result"]["seq"])
    return seqs


def created(frames: list[Frame]) -> list[int]:
    return [frame["seq"] for frame in frames if frame["type"] == "message.created"]


async def test_client_that_does_not_read_is_closed_and_can_resume(
    quick_server: Installation, room: PopulatedRoom
) -> None:
    owner, reader, stuck_user = room.members
    async with quick_server.socket(owner) as sender, quick_server.socket(reader) as observer:
        await observer.join(room.id)
        async with narrow(quick_server, stuck_user) as slow:
            await slow.join(room.id)
            posted, _ = await asyncio.gather(
                post_many(sender, room),
                observer.until(lambda _: len(created(observer.frames)) == MESSAGES),
            )
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await slow.receive()
        received = created(slow.frames)
        async with quick_server.socket(stuck_user) as again:
            back = await again.join(room.id, after=received[-1] if received else None)

    # The network may reset the connection before the client has read the close frame.
    assert closed.value.rcvd is None or closed.value.rcvd.code == 4408
    assert created(observer.frames) == posted
    assert len(received) < MESSAGES
    # A client that missed much gets the state: the newest messages, at most 1 MiB of them.
    delivered = back["state"]["messages"] if back["state"] else None
    missed = (
        created(back["events"]) if delivered is None else [message["seq"] for message in delivered]
    )
    shown = SHOWN if delivered is None else len(delivered)
    assert shown >= 1
    assert (received + missed)[-shown:] == posted[-shown:]


async def test_client_that_never_reads_is_aborted_and_goes_offline(tmp_path: Path) -> None:
    limits = {STUCK: scaled(1), ABORT: scaled(1), PING: 3_600}  # so that only the abort ends it
    with LimitedInstallation(tmp_path, limits) as quick_server:
        (room,) = await asyncio.to_thread(quick_server.populate, 1, 3)
        owner, reader, stuck_user = room.members
        async with quick_server.socket(owner) as sender, quick_server.socket(reader) as observer:
            await observer.join(room.id)
            async with narrow(quick_server, stuck_user) as slow:
                await slow.join(room.id)
                saying = asyncio.create_task(post_many(sender, room))
                await observer.until(lambda frame: is_presence(frame, stuck_user, online=False))
                await saying


async def test_user_of_a_half_open_connection_goes_offline(
    tmp_path: Path,
) -> None:
    with LimitedInstallation(tmp_path, {PING: scaled(1)}) as quick_server:
        (room,) = await asyncio.to_thread(quick_server.populate, 1, 2)
        owner, member = room.members
        async with (
            quick_server.socket(owner) as client,
            SilentProxy(quick_server.port).open() as silent_proxy,
        ):
            await client.join(room.id)
            async with narrow(quick_server, member, silent_proxy.port) as lost:
                await lost.join(room.id)
                await client.until(lambda frame: is_presence(frame, member, online=True))

                silent_proxy.carries.clear()
                await client.until(lambda frame: is_presence(frame, member, online=False))


def is_presence(frame: Frame, person: Person, *, online: bool) -> bool:
    return (
        frame["type"] == "presence" and frame["user"] == person.user and frame["online"] is online
    )


class SilentProxy:
    """A TCP proxy that can stop forwarding without closing: a half-open connection."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.carries = asyncio.Event()
        self.carries.set()
        self._server_port = port
        self._passing: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator["SilentProxy"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._passing:
                task.cancel()
            await asyncio.gather(*self._passing, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._passing += [
            asyncio.create_task(self._pass(reader, server_writer)),
            asyncio.create_task(self._pass(server_reader, writer)),
        ]

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self.carries.wait()
                data = await source.read(2**16)
                await self.carries.wait()
                target.write(data)
        finally:
            target.transport.abort()


async def test_open_connections_are_limited_per_user(
    limited: Installation,
) -> None:
    (room,) = await asyncio.to_thread(limited.populate, 1, 2)
    busy_user, other = room.members
    async with AsyncExitStack() as stack:
        many = [stack.enter_async_context(limited.socket(busy_user)) for _ in range(20)]
        opened = list(await asyncio.gather(*many))
        while len(opened) < MAX_CONNECTIONS_PER_USER - 1:
            opened.append(await stack.enter_async_context(limited.socket(busy_user)))
        stream = await stack.enter_async_context(event_stream(limited, room.id, busy_user.token))
        await stream.until_type("member.added")

        with pytest.raises(InvalidStatus) as refused:
            await stack.enter_async_context(limited.socket(busy_user))
        async with event_stream(limited, room.id, busy_user.token) as refused_stream:
            assert refused_stream.status == 429
        other_client = await stack.enter_async_context(limited.socket(other))
        await opened[0].connection.close()
        async with asyncio.timeout(DEADLINE):
            freed = await stack.enter_async_context(eventually_open(limited, busy_user))

        assert refused.value.response.status_code == 429
        for living in (other_client, freed, opened[-1]):
            assert (await living.command("ping"))["type"] == "command.done"


@asynccontextmanager
async def eventually_open(installation: Installation, person: Person) -> AsyncIterator[Socket]:
    """Retry the connection until the server accepts it."""
    async with AsyncExitStack() as stack:
        while True:
            try:
                opened = await stack.enter_async_context(installation.socket(person))
            except InvalidStatus:
                await asyncio.sleep(0.05)
            else:
                break
        yield opened


@pytest.mark.parametrize("declared", [16 * MIB, 4 * 1024 * MIB])
async def test_frame_with_a_huge_declared_length_closes_with_1009(
    quick_server: Installation, room: PopulatedRoom, declared: int
) -> None:
    async with quick_server.socket(room.members[1]) as hostile:
        hostile.connection.transport.write(masked(0x81, declared))
        async with asyncio.timeout(DEADLINE):
            await hostile.connection.wait_closed()

    assert hostile.connection.close_code == 1009


async def test_payload_of_huge_frames_is_not_buffered(
    quick_server: Installation, room: PopulatedRoom
) -> None:
    """All clients send at once, so that a reset may overtake the close frame."""
    before = peak(quick_server)
    async with AsyncExitStack() as stack:
        opened = [
            (await stack.enter_async_context(quick_server.socket(room.members[1]))).connection
            for _ in range(HUGE_FRAMES)
        ]
        for connection in opened:
            connection.transport.write(masked(0x81, 4 * 1024 * MIB) + bytes(SENT_OF_EACH))
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(connection.wait_closed() for connection in opened))

    assert peak(quick_server) - before < HUGE_FRAMES * SENT_OF_EACH / 2
    async with quick_server.socket(room.members[0]) as other_client:
        assert (await other_client.join(room.id))["type"] == "room.snapshot"


async def test_compressed_frame_is_refused_without_inflating_it(
    quick_server: Installation, room: PopulatedRoom
) -> None:
    """60 MiB of zeros, compressed into a frame below the limit."""
    packed = zlib.compressobj(9, wbits=-15)
    bomb = packed.compress(bytes(BOMB)) + packed.flush(zlib.Z_SYNC_FLUSH)
    before = peak(quick_server)

    async with quick_server.socket(room.members[1]) as hostile:
        assert hostile.connection.protocol.extensions == []
        hostile.connection.transport.write(masked(0xC1, len(bomb)) + bomb)
        async with asyncio.timeout(DEADLINE):
            await hostile.connection.wait_closed()

    assert len(bomb) < 65_536
    assert hostile.connection.close_code == 1002
    assert peak(quick_server) - before < BOMB / 2


async def test_invalid_text_closes_with_1007_and_logs_one_line(
    quick_server: Installation, room: PopulatedRoom
) -> None:
    for _ in range(2):
        async with quick_server.socket(room.members[1]) as hostile:
            hostile.connection.transport.write(masked(0x81, 2) + b"\xc3\x28")
            async with asyncio.timeout(DEADLINE):
                await hostile.connection.wait_closed()
        assert hostile.connection.close_code == 1007

    posted = [line for line in quick_server.output.splitlines() if "socket.no_text" in line]
    assert len(posted) == 2
    assert "Traceback" not in quick_server.output


def masked(first: int, size: int) -> bytes:
    """Return the header of a client frame with a zero mask (RFC 6455 §5.3)."""
    length = bytes((0xFF,)) + size.to_bytes(8, "big")
    if size < 1 << 16:
        length = bytes((0xFE,)) + size.to_bytes(2, "big")
    return bytes((first,)) + length + bytes(4)


def peak(installation: Installation) -> int:
    """Return the server's peak resident memory in bytes."""
    assert installation.process is not None
    lines = Path(f"/proc/{installation.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
