"""PostgreSQL and Redis of Debian's packages: private, on the loopback, and ours to break.

Each is one process in the foreground with a folder and a port of its own. It can be ended in any
way, started again on the same data, and frozen; what it kept lasts until `__exit__`.
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


class Service:
    """A server program. Entering starts it, leaving ends it and removes what it kept."""

    name: ClassVar[str]
    gentle: ClassVar[Signals]
    """The signal that has it end in good order without waiting for its clients."""

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
        """Make the empty store, once."""

    def start(self) -> None:
        """Start the program on what it has kept, and return when it answers."""
        with self.log("ab") as log:
            self.process = subprocess.Popen(
                self.command(), user=self.account(), cwd=self.folder, stdout=log, stderr=log
            )
        until(self._answers)

    def stop(self, how: Signals | None = None) -> None:
        """End the program, gently unless told how, and return when it has ended."""
        if self.process is None:
            return
        self.process.send_signal(how or self.gentle)
        self.process.send_signal(signal.SIGCONT)  # a frozen one would never hear of it
        self.process.wait(DEADLINE)
        self.process = None

    def restart(self, how: Signals | None = None) -> None:
        """End it and start it again on the same port, with what it has kept."""
        self.stop(how)
        self.start()

    def freeze(self) -> None:
        """Stop it in mid-air: its connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def account(self) -> str | None:
        """Return whose account it must run under; None is our own."""
        return None

    def command(self) -> list[str]:
        """Return the program with its options."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Ask it something; False if it is not there or not ready."""
        raise NotImplementedError

    def log(self, mode: str) -> IO[bytes]:
        return (self.folder / "log").open(mode)

    def _signal(self, number: Signals) -> None:
        assert self.process is not None, f"{self.name} does not run"
        self.process.send_signal(number)

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            with self.log("rb") as log:
                raise RuntimeError(f"{self.name} has ended:\n{log.read().decode()}")
        return self.answers()


class Postgres(Service):
    """One PostgreSQL with one empty database; `SIGQUIT` ends it as a crash would."""

    name = "postgres"
    gentle = signal.SIGINT
    is_migrated: ClassVar[bool] = False
    """Whether Maru's tables are in it from the beginning."""

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    @property
    def store(self) -> Path:
        """The folder in which it keeps everything."""
        return self.folder / "data"

    def url_of(self, database: str) -> str:
        return f"postgresql://maru@127.0.0.1:{self.port}/{quote(database)}"

    def create(self, database: str) -> str:
        """Make one more, empty database and return its address."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url_of(database)

    def prepare(self) -> None:
        account = self.account()
        if account is not None:
            shutil.chown(self.folder, account)
        where = ["--pgdata", str(self.store), "--no-sync", "--no-instructions"]
        what = ["--username=maru", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        subprocess.run(
            [str(_programs() / "initdb"), *where, *what],
            user=account,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def command(self) -> list[str]:
        # What a power cut would lose may be lost here; what a crash of the program would, not.
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "full_page_writes": "off",
            "track_commit_timestamp": "on",
        }
        program = [str(_programs() / "postgres"), "-D", str(self.store)]
        return program + [f"--{name}={value}" for name, value in settings.items()]

    def account(self) -> str | None:
        """PostgreSQL refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def connect(self) -> psycopg.Connection:
        """Return a connection beside Maru's, in which each statement commits by itself."""
        return psycopg.connect(self.url, autocommit=True, connect_timeout=int(ANSWER_SECONDS))

    def end_connections(self, *, query: str = "") -> int:
        """End the connections whose last statement contains `query`; return how many."""
        with self.connect() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND strpos(query, %s) > 0",
                [query],
            )
            return len(ended.fetchall())


class Redis(Service):
    """One Redis that keeps nothing on disk: ended, it has forgotten everything."""

    name = "redis"
    gentle = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        port, folder = str(self.port), str(self.folder)
        private = ["--port", port, "--bind", "127.0.0.1", "--dir", folder]
        return ["redis-server", *private, "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        with suppress(redis.RedisError), self.connect() as connection:
            return bool(connection.ping())
        return False

    def connect(self) -> redis.Redis:
        """Return a connection beside Maru's."""
        return redis.Redis.from_url(self.url, socket_timeout=ANSWER_SECONDS)


def missing() -> list[str]:
    """Name the packages that are not installed; without them there is no cluster."""
    found = {"redis-server": shutil.which("redis-server"), "postgresql": _newest()}
    return [package for package, program in found.items() if program is None]


def _programs() -> Path:
    newest = _newest()
    assert newest is not None, "PostgreSQL is not installed"
    return newest


def _newest() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the path."""
    folders = {
        int(program.parts[-3]): program.parent
        for program in Path("/usr/lib/postgresql").glob("*/bin/postgres")
    }
    return folders[max(folders)] if folders else None
