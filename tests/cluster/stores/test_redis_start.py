"""Each reason why Redis refuses Maru has its own sentence; Redis Sentinel finds the server."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from accounts.redis_server import RedisServerCache, aclose, async_redis, close, sync_redis
from maru.config import backends, redis_start
from maru.config.env import Env
from rooms.fanout import redis_layer
from rooms.fanout.redis_layer import RedisLayer
from tests.cluster.harness.services import Redis
from tests.deadlines import DEADLINE
from tests.live import free_port, until


class Sentinel(Redis):
    """A Redis Sentinel that watches one server under the name `maru`."""

    def __init__(self, watched: Redis) -> None:
        super().__init__()
        self.watched = watched

    def prepare(self) -> None:
        monitor = f"sentinel monitor maru 127.0.0.1 {self.watched.port} 1\n"
        (self.folder / "sentinel.conf").write_text(f"port {self.port}\n{monitor}")

    def command(self) -> list[str]:
        return ["redis-server", str(self.folder / "sentinel.conf"), "--sentinel"]


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with Redis() as started:
        with started.connect() as client:
            client.acl_setuser(
                "good",
                enabled=True,
                passwords=["+right"],
                keys=["maru*"],
                channels=["maru*"],
                categories=["+@all", "-@dangerous"],
            )
            client.acl_setuser(
                "mute", enabled=True, passwords=["+right"], keys=["maru*"], categories=["+@all"]
            )
            client.acl_setuser(
                "keyless",
                enabled=True,
                passwords=["+right"],
                channels=["maru*"],
                categories=["+@all"],
            )
            client.acl_setuser(
                "reader",
                enabled=True,
                passwords=["+right"],
                keys=["maru*"],
                channels=["maru*"],
                categories=["+@read", "+@connection"],
            )
            client.execute_command("ACL", "SETUSER", "default", "resetpass", ">default")
        yield started


@pytest.fixture(autouse=True)
def _production(settings: Settings) -> None:
    settings.EMBEDDED, settings.REDIS_SENTINEL = False, None


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("redis://", "refuses the user name or the password"),
        ("redis://:CANARY@", "refuses the user name or the password"),
        ("redis://good:CANARY@", "refuses the user name or the password"),
        ("redis://mute:right@", "may not use all commands, keys and channels"),
        ("redis://keyless:right@", "may not use all commands, keys and channels"),
        ("redis://reader:right@", "may not use all commands, keys and channels"),
        ("redis://good:right@", ""),
    ],
)
def test_each_refusal_has_its_own_sentence(
    server: Redis, settings: Settings, capsys: pytest.CaptureFixture[str], start: str, words: str
) -> None:
    settings.REDIS_URL = f"{start}127.0.0.1:{server.port}/0"

    if words:
        with pytest.raises(SystemExit):
            redis_start.check_redis()
    else:
        redis_start.check_redis()

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(words)
    assert all(words in line and "CANARY" not in line for line in lines)


def test_certificate_that_cannot_be_verified_has_its_own_sentence(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    certificate = tmp_path / "both.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    files = ["-keyout", str(certificate), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*make, *files], check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", certificate)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse_handshakes, args=(listener, context), daemon=True).start()
        settings.REDIS_URL = f"rediss://127.0.0.1:{listener.getsockname()[1]}/0"
        with pytest.raises(SystemExit):
            redis_start.check_redis()

    assert "TLS to Redis failed" in capsys.readouterr().err


def refuse_handshakes(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Offer a certificate that no client trusts, until the listener is closed."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
                pass


def test_redis_that_is_away_or_full_does_not_prevent_a_start(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    redis_start.check_redis()

    with Redis() as full:
        with full.connect() as client:
            client.config_set("maxmemory", 1)
        settings.REDIS_URL = full.url
        redis_start.check_redis()


def test_sentinel_finds_the_server_for_every_kind_of_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_layer, "CONNECT_SECONDS", DEADLINE)  # not the subject of this test
    with Redis() as server, Sentinel(server) as sentinel:
        away = free_port()
        url = f"redis+sentinel://127.0.0.1:{away},127.0.0.1:{sentinel.port}/maru/0"
        env = Env(redis_url=url, database_url="postgresql://h/n", secret_key="k" * 32)
        settings.REDIS_URL, settings.REDIS_SENTINEL = "", backends.redis_sentinel(env)
        with sentinel.connect() as client:
            until(lambda: bool(client.execute_command("SENTINEL", "MASTERS")))

        redis_start.check_redis()
        cache = RedisServerCache("", backends.cache(env))
        cache.set("key", 1)
        received = asyncio.run(send_through_layer(backends.channel_layer(env)["CONFIG"]))

        client = sync_redis()
        assert client.client_info()["laddr"].endswith(f":{server.port}")
        assert cache.get("key") == 1
        for used in (client, cache._cache.get_client()):
            close(used)
        assert received == {"type": "x"}


async def send_through_layer(config: dict[str, Any]) -> object:
    """Send one message through the layer and through a client; return the received message."""
    client = async_redis(DEADLINE)
    layer = RedisLayer(**config)
    try:
        assert await client.ping()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "x"})
        async with asyncio.timeout(DEADLINE):
            return await layer.receive(channel)
    finally:  # what stays open fails a later test
        await aclose(client)
        await layer.flush()
        for _ in range(5):  # turns of the event loop in which its transports close
            await asyncio.sleep(0)
