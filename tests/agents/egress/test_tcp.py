"""TcpBackend: bytes are read in order, bounded, and before the error that ended the connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET, socket
from struct import pack

import httpcore
import pytest

from agents.egress.tcp import HIGH_WATER_BYTES, TcpBackend, TcpStream
from tests.deadlines import DEADLINE

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def connected(serve: Serve) -> AsyncIterator[httpcore.AsyncNetworkStream]:
    """Yield a connection to a server that calls `serve` once; it stays open, if `serve` lets it."""
    ended = asyncio.Event()

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await serve(reader, writer)
            if not writer.is_closing():
                await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve_and_close, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    stream = await TcpBackend().connect_tcp("127.0.0.1", port, DEADLINE)
    try:
        async with asyncio.timeout(DEADLINE):
            yield stream
    finally:
        await stream.aclose()
        await asyncio.wait_for(ended.wait(), DEADLINE)
        server.close()


async def test_bytes_before_a_reset_are_read_before_the_error() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await asyncio.wait_for(received.wait(), DEADLINE)
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        writer.transport.abort()

    received = asyncio.Event()
    async with connected(serve) as stream:
        assert await stream.read(2) == b"ha"
        received.set()
        assert await stream.read(100) == b"lf"
        with pytest.raises(httpcore.ReadError):
            await stream.read(100)


async def test_the_end_of_the_connection_is_an_empty_read() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all")
        writer.close()

    async with connected(serve) as stream:
        assert [await stream.read(100) for _ in range(3)] == [b"all", b"", b""]


async def test_a_server_cannot_fill_the_memory_while_nothing_is_read() -> None:
    sent = 0

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 64 * HIGH_WATER_BYTES:
            writer.write(b"x" * HIGH_WATER_BYTES)
            sent += HIGH_WATER_BYTES
            await writer.drain()
        writer.close()

    async with connected(serve) as stream:
        protocol = stream._protocol  # type: ignore[attr-defined]  # its buffer is the memory
        await stream.read(1)
        largest = got = 1
        while data := await stream.read(1024):
            largest = max(largest, len(protocol._buffer))
            got += len(data)

    assert got == sent
    assert largest <= HIGH_WATER_BYTES + 256 * 1024  # one read of asyncio above the mark


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"data: [DONE]\n\n", None])
async def test_a_collecting_read_takes_many_writes_and_ends_with_the_answer(
    end: bytes | None,
) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first")
        await asyncio.wait_for(received.wait(), DEADLINE)
        for _ in range(5):
            writer.write(b"more")
            await writer.drain()
            await asyncio.sleep(0)
        if end is None:
            writer.close()
        else:
            writer.write(end)

    received = asyncio.Event()
    async with connected(serve) as stream:
        assert isinstance(stream, TcpStream)
        stream.collect(3600.0)
        assert await stream.read(100) == b"first"
        received.set()
        assert await stream.read(100) == b"more" * 5 + (end or b"")


async def test_a_collecting_read_ends_after_its_interval() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first")
        await asyncio.wait_for(received.wait(), DEADLINE)
        writer.write(b"more")

    received = asyncio.Event()
    async with connected(serve) as stream:
        assert isinstance(stream, TcpStream)
        stream.collect(0.05)
        await stream.read(100)
        received.set()
        assert await stream.read(100) == b"more"


async def test_a_read_ends_after_its_timeout() -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with connected(serve) as stream:
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(1, timeout=0.01)


async def test_a_closed_port_is_a_connect_error() -> None:
    with socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(httpcore.ConnectError):
        await TcpBackend().connect_tcp("127.0.0.1", port, DEADLINE)
