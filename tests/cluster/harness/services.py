"""PostgreSQL and Redis of Debian's packages as private processes on the loopback interface.

Each service is one foreground process with its own folder and port. A test can end it with any
signal, start it again on the same data, and freeze it. `__exit__` deletes the data.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import IO, ClassVar, Self
from urllib.parse import quote

import psycopg
import redis
from psycopg import sql

from tests.deadlines import DEADLINE, scaled
from tests.live import free_port, until

ANSWER_SECONDS = scaled(10)
"""The timeout of a request of the test itself to a store."""


class Service:
    """A server program. Entering starts it; leaving ends it and deletes its data."""

    name: ClassVar[str]
    stop_signal: ClassVar[Signals]
    """Ends the program cleanly without waiting for its clients."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"maru-{self.name}-"))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self) -> None:
        """Create the empty data folder. Called once, before the first start."""

    def start(self) -> None:
        """Start the program on its existing data and return when it accepts requests."""
        with self.log("ab") as log:
            self.process = subprocess.Popen(
                self.command(), user=self.account(), cwd=self.folder, stdout=log, stderr=log
            )
        until(self._is_ready)

    def stop(self, signal_number: Signals | None = None) -> None:
        """Send a signal (default: `stop_signal`) and return when the process has ended."""
        if self.process is None:
            return
        self.process.send_signal(signal_number or self.stop_signal)
        self.process.send_signal(signal.SIGCONT)  # a stopped process handles no other signal
        self.process.wait(DEADLINE)
        self.process = None

    def restart(self, signal_number: Signals | None = None) -> None:
        """Stop the program and start it again on the same port and data."""
        self.stop(signal_number)
        self.start()

    def freeze(self) -> None:
        """Suspend the process: its connections stay open and get no response."""
        self._send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen process."""
        self._send_signal(signal.SIGCONT)

    def account(self) -> str | None:
        """Return the operating system user to run as; None means the current user."""
        return None

    def command(self) -> list[str]:
        """Return the command line."""
        raise NotImplementedError

    def responds(self) -> bool:
        """Return True if the program answers a request."""
        raise NotImplementedError

    def log(self, mode: str) -> IO[bytes]:
        return (self.folder / "log").open(mode)

    def _send_signal(self, number: Signals) -> None:
        assert self.process is not None, f"{self.name} is not running"
        self.process.send_signal(number)

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            with self.log("rb") as log:
                raise RuntimeError(f"{self.name} has ended:\n{log.read().decode()}")
        return self.responds()


class Postgres(Service):
    """A PostgreSQL server with one empty database. SIGQUIT ends it like a crash."""

    name = "postgres"
    stop_signal = signal.SIGINT
    superuser: ClassVar[str] = "maru"
    is_migrated: ClassVar[bool] = False
    """True if the database contains Maru's tables from the start."""

    @property
    def url(self) -> str:
        return self.database_url("postgres")

    @property
    def data(self) -> Path:
        """The data folder of the server."""
        return self.folder / "data"

    def database_url(self, database: str) -> str:
        return f"postgresql://{self.superuser}@127.0.0.1:{self.port}/{quote(database)}"

    def create(self, database: str) -> str:
        """Create another empty database and return its URL."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.database_url(database)

    def prepare(self) -> None:
        account = self.account()
        if account is not None:
            shutil.chown(self.folder, account)
        folder = ["--pgdata", str(self.data), "--no-sync", "--no-instructions"]
        options = [f"--username={self.superuser}", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        subprocess.run(
            [str(_programs() / "initdb"), *folder, *options],
            user=account,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def command(self) -> list[str]:
        # fsync and full_page_writes protect against a power failure, which no test simulates.
        # A crash of the process loses nothing without them.
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "full_page_writes": "off",
            "track_commit_timestamp": "on",
        }
        program = [str(_programs() / "postgres"), "-D", str(self.data)]
        return program + [f"--{name}={value}" for name, value in settings.items()]

    def account(self) -> str | None:
        """PostgreSQL refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def responds(self) -> bool:
        with suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def connect(self) -> psycopg.Connection:
        """Return a new autocommit connection of the test's own."""
        return psycopg.connect(self.url, autocommit=True, connect_timeout=int(ANSWER_SECONDS))

    def end_connections(self, *, query: str = "") -> int:
        """End the connections whose last statement contains `query`; return their number."""
        with self.connect() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND strpos(query, %s) > 0",
                [query],
            )
            return len(ended.fetchall())


class Redis(Service):
    """A Redis server without persistence: it loses its data when it ends."""

    name = "redis"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        port, folder = str(self.port), str(self.folder)
        private = ["--port", port, "--bind", "127.0.0.1", "--dir", folder]
        return ["redis-server", *private, "--save", "", "--appendonly", "no"]

    def responds(self) -> bool:
        with suppress(redis.RedisError), self.connect() as connection:
            return bool(connection.ping())
        return False

    def connect(self) -> redis.Redis:
        """Return a new connection of the test's own."""
        return redis.Redis.from_url(self.url, socket_timeout=ANSWER_SECONDS)


def missing_packages() -> list[str]:
    """Return the Debian packages that a cluster needs and that are not installed."""
    found = {"redis-server": shutil.which("redis-server"), "postgresql": _newest_programs()}
    return [package for package, program in found.items() if program is None]


def _programs() -> Path:
    newest = _newest_programs()
    assert newest is not None, "PostgreSQL is not installed"
    return newest


def _newest_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, which Debian keeps off PATH."""
    folders = {
        int(program.parts[-3]): program.parent
        for program in Path("/usr/lib/postgresql").glob("*/bin/postgres")
    }
    return folders[max(folders)] if folders else None
