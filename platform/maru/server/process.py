"""One web process: uvicorn with our configuration. Started by `python -m maru.server`.

In the embedded profile, this is the only process: it also migrates the database and runs answers.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")

import django
import uvicorn
from django.conf import settings
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware, _TrustedHosts

from maru.config import terminal
from maru.config.malloc import share_arenas
from maru.server.connections import Connections, allowed_by_system
from maru.server.http_protocol import BoundedHttpProtocol
from maru.server.listener import bind, remove_file, url_of, why_not
from maru.server.request_ids import ANY_PEER, RequestIds
from maru.server.websocket_protocol import BoundedProtocol

PING_SECONDS = 20
KEEP_ALIVE_SECONDS = 5
DRAIN_SECONDS = 25
EMBEDDED_DRAIN_SECONDS = 5


def main() -> None:
    """Serve until SIGTERM or SIGINT; a failed start prints one sentence and exits with status 1."""
    # After its shutdown, uvicorn raises the signal that stopped it a second time.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _end)
    share_arenas()
    django.setup()
    from maru.config.env import load
    from maru.monitoring import exposition

    exposition.start()
    env = load()
    listener = bind(env.host, env.port)
    _prepare()
    application = _application()
    announcement = _announcement(env.public_url or url_of(listener))
    # Modules stay loaded for the life of the process: exclude them from garbage collection.
    gc.collect()
    gc.freeze()
    on_unix = listener.family == socket.AF_UNIX
    server = Server(
        config(application, settings.TRUSTED_PROXIES, on_unix_socket=on_unix), announcement
    )
    server.run(sockets=[listener])
    if not server.started or server.lifespan.error_occurred:
        sys.exit(1)


class Server(uvicorn.Server):
    """A uvicorn server that listens only when it is ready, and stops without losing a request."""

    config: "Config"

    def __init__(self, config: "Config", announcement: Sequence[str] = ()) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen: until then, a proxy uses another process at once."""
        try:
            await super().startup(sockets)
        except OSError as error:  # another process has begun to listen since the port was bound
            await self.lifespan.shutdown()
            terminal.give_up(why_not(error, *(sockets or [])[0].getsockname()[:2]))
        for sentence in self._announcement:
            terminal.say(sentence)

    async def on_tick(self, counter: int) -> bool:
        """Return True to shut down: on request, or after a companion has failed."""
        return await super().on_tick(counter) or self.lifespan.error_occurred

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End event streams first: uvicorn would wait for them until its timeout.

        The kernel has accepted connections that this process has not. To close the listener would
        reset them, and a proxy must not repeat a POST that it has sent. So they are served as well.
        """
        self.config.connections.is_draining = True
        for listener in sockets or []:
            remove_file(listener)
        accepted = [each for listener in sockets or [] for each in _accept_all(listener)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for each in accepted:
            await loop.connect_accepted_socket(self._protocol, each)
        closing = asyncio.create_task(_close_streams())  # also of requests that have yet to come
        try:
            await super().shutdown(sockets)
        finally:
            closing.cancel()

    def _protocol(self) -> asyncio.Protocol:
        return self.config.make_protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


async def _close_streams() -> None:
    from rooms.socket.sse import close_streams

    while True:
        close_streams()
        await asyncio.sleep(0.1)


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections in the listener's backlog."""
    with suppress(BlockingIOError):
        while True:
            connection, _address = listener.accept()
            connection.setblocking(False)
            yield connection


def _prepare() -> None:
    """Prepare the data folder, static files and database, or end the process."""
    from maru.config import database, postgres, redis_start
    from maru.server import static

    if settings.EMBEDDED:
        database.lock_data_folder()
    else:
        try:
            static.collect_missing()
        except OSError as error:
            terminal.give_up(
                f"Maru cannot collect its static files: {error.strerror}. "
                "Make MARU_DATA_DIR a folder that it may write."
            )
    postgres.end_stalled_sessions()
    database.prepare()
    redis_start.check_redis()


def _application() -> Any:
    from django.urls import get_resolver

    from maru.server.asgi import application
    from maru.server.lifespan import Lifespan

    get_resolver().url_patterns  # noqa: B018 # else the first request imports the URLs on the event loop
    if settings.EMBEDDED:
        return Lifespan(application.app, *application.companions, _answers)
    return application


class Config(uvicorn.Config):
    """uvicorn's configuration, with the bounds on connections."""

    def __init__(self, application: Any, connections: Connections, **options: Any) -> None:
        self.connections = connections
        self.make_protocol = partial(BoundedHttpProtocol, connections=connections)
        super().__init__(application, http=cast("Any", self.make_protocol), **options)


class _UnixPeer(_TrustedHosts):
    """Trusts the peer of a Unix socket, which has no address, as well.

    Unlike uvicorn's "*", it takes the last address of X-Forwarded-For that is no trusted proxy: a
    client may have sent the addresses before it.
    """

    def __contains__(self, host: str | None) -> bool:
        return host is None or super().__contains__(host)


def config(
    application: Any, trusted_proxies: Sequence[str], *, on_unix_socket: bool = False
) -> Config:
    """Return the configuration.

    Only trusted proxies may set the client's address and the id of the request. Every peer of a
    Unix socket is trusted: its mode lets only the proxy connect.
    """
    if trusted_proxies or on_unix_socket:
        application = ProxyHeadersMiddleware(application, trusted_hosts=list(trusted_proxies))
        if on_unix_socket:
            application.trusted_hosts = _UnixPeer(list(trusted_proxies))
    per_address = settings.CONNECTIONS_PER_ADDRESS if settings.RATE_LIMITS else None
    total = allowed_by_system(settings.CONNECTIONS)
    return Config(
        RequestIds(application, [ANY_PEER] if on_unix_socket else trusted_proxies),
        Connections(total, per_address, trusted_proxies),
        loop="uvloop",
        ws=BoundedProtocol,
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        log_config=None,
        access_log=False,
    )


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Exit with status 0: a requested stop is not a failure."""
    raise SystemExit(0)


@asynccontextmanager
async def _answers(state: dict[str, object]) -> AsyncIterator[None]:
    """Run answers and purges in this process.

    CrewAI is imported in a thread while pages are served.
    """
    from maru.server.answer_worker import answering
    from maru.server.purging import purging
    from rooms.runs.runner import Runner

    runner = Runner(settings.RUN_CONCURRENCY)
    async with answering(runner, EMBEDDED_DRAIN_SECONDS), purging():
        yield


def _announcement(address: str) -> Sequence[str]:
    """Return the sentences about the address and, if no account exists, about the set-up link.

    Only the embedded profile prints the link itself, because its output is a terminal. Collected
    logs must not contain it: it creates the operator's account.
    """
    from accounts.services import is_set_up
    from maru.config import database
    from maru.web.setup import link_for_empty_installation

    with database.explained():
        empty = not is_set_up()
        on_terminal = settings.EMBEDDED and not terminal.as_json
        link = link_for_empty_installation(address) if empty and on_terminal else None
    if link is not None:
        return ["Open this link within one hour to set up Maru:", link]
    how = "No account exists. `python manage.py setup_link` prints a link to set it up."
    return [f"Maru runs at {address}", *([how] if empty else [])]
