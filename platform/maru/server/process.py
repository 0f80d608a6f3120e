"""One web process: uvicorn with our configuration. Started by `python -m maru.server`.

In the embedded profile, this is the only process: it also migrates the database and runs answers.
"""

import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from types import FrameType
from typing import Any, NoReturn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")

import django
import uvicorn
from django.conf import settings

from maru.server.websocket_protocol import BoundedProtocol

PING_SECONDS = 20
DRAIN_SECONDS = 25
EMBEDDED_DRAIN_SECONDS = 5


def main() -> None:
    """Serve until SIGTERM or SIGINT; a failed start prints one sentence and exits with status 1."""
    # After its shutdown, uvicorn raises the signal that stopped it a second time.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _end)
    django.setup()
    from maru.config.env import load

    env = load()
    listener = _listen(env.host, env.port)
    _prepare()
    application = _application()
    _announce(env.public_url or _address(listener))
    # Modules stay loaded for the life of the process: exclude them from garbage collection.
    gc.collect()
    gc.freeze()
    server = Server(config(application, settings.TRUSTED_PROXIES))
    server.run(sockets=[listener])
    if not server.started or server.lifespan.error_occurred:
        sys.exit(1)


class Server(uvicorn.Server):
    """A uvicorn server that stops if a companion fails, and ends event streams at shutdown."""

    async def on_tick(self, counter: int) -> bool:
        """Return True to shut down: on request, or after a companion has failed."""
        return await super().on_tick(counter) or self.lifespan.error_occurred

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End event streams first: uvicorn would wait for them until its timeout."""
        from rooms.socket.sse import close_streams

        close_streams()
        await super().shutdown(sockets)


def _prepare() -> None:
    """Prepare the data folder, static files and database, or end the process."""
    from maru.config import database
    from maru.server import static

    if settings.EMBEDDED:
        database.lock_data_folder()
    else:
        try:
            static.collect_missing()
        except OSError as error:
            _give_up(
                f"Maru cannot collect its static files: {error.strerror}. "
                "Make MARU_DATA_DIR a folder that it may write."
            )
    database.prepare()


def _application() -> Any:
    from django.urls import get_resolver

    from maru.server.asgi import application
    from maru.server.lifespan import Lifespan

    get_resolver().url_patterns  # noqa: B018 # else the first request imports the URLs on the event loop
    if settings.EMBEDDED:
        return Lifespan(application.app, *application.companions, _answers)
    return application


def config(application: Any, trusted_proxies: Sequence[str]) -> uvicorn.Config:
    """Return uvicorn's configuration; only trusted proxies may set the client's address."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        ws=BoundedProtocol,
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        lifespan="on",
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=",".join(trusted_proxies) or None,
        server_header=False,
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

    async with answering(EMBEDDED_DRAIN_SECONDS), purging():
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        _give_up(_why_not(error, host, port))
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use. "
            "Stop the program that uses it, or choose another port with MARU_PORT."
        )
    return f"Maru cannot listen on {host}:{port}: {error.strerror}. Change MARU_HOST or MARU_PORT."


def _announce(address: str) -> None:
    """Print one line: the address, or the set-up link if no account exists yet."""
    from maru.config import database
    from maru.web.setup import link_for_empty_installation

    with database.explained():
        link = link_for_empty_installation(address)
    if link is None:
        print(f"Maru runs at {address}", flush=True)
    else:
        print(f"Open this link within one hour to set up Maru: {link}", flush=True)


def _address(listener: socket.socket) -> str:
    """Return the URL of the listener for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _give_up(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise SystemExit(1)
