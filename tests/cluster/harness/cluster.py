"""A production installation of several processes, which a test can stop and start one by one."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import Signals
from typing import Any, ClassVar, Self

import psycopg

from rooms.runs.notifications import CHANNEL
from tests.cluster.harness import SECRET_KEY, WITHOUT_STORES
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE
from tests.live import ROOT, Installation, PopulatedRoom, free_port, until
from tests.prepared import once

DATA = "data"


class MigratedPostgres(Postgres):
    """A PostgreSQL server with Maru's tables. It starts on a copy: migrating takes a second."""

    is_migrated: ClassVar[bool] = True

    def prepare(self) -> None:
        subprocess.run(["cp", "--archive", str(_migrated_data()), str(self.data)], check=True)
        if account := self.account():
            shutil.chown(self.folder, account)


def _migrated_data() -> Path:
    """Return the data folder of a migrated PostgreSQL."""

    def prepare(folder: Path) -> None:
        with Postgres() as postgres, Redis() as redis:
            cluster = Cluster(folder, postgres, redis, webs=1, workers=0)
            cluster.prepare()
            postgres.stop()
            subprocess.run(["cp", "--archive", str(postgres.data), str(folder / DATA)], check=True)

    return once("postgresql", prepare) / DATA


def _collected_files() -> Path:
    """Return the folder with the static files of production: to compress them takes 16 s of CPU."""

    def prepare(folder: Path) -> None:
        settings = {"MARU_DATA_DIR": str(folder), **WITHOUT_STORES}
        Installation(folder, **settings).manage("collectstatic", "--no-input", "--verbosity", "0")

    return once("static", prepare) / "static"


class Worker:
    """One `manage.py runagents` process."""

    entry: Sequence[str] = (str(ROOT / "manage.py"), "runagents")

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = {**env, "MARU_METRICS_PORT": str(self.port)}
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def url(self) -> str:
        """The address of the worker's endpoint for metrics and health."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        """The application_name of the worker's connections; each start has a new name."""
        return f"{self.folder.name}.{self.starts}"

    @property
    def output(self) -> str:
        """Everything that the worker has printed, all starts included."""
        return (self.folder / "worker.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None, "the worker is not running"
        return self.process.pid

    def start(self) -> None:
        """Start the process. It claims runs as soon as it has imported CrewAI."""
        self.starts += 1
        with (self.folder / "worker.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.entry],
                cwd=self.folder,
                env={**self.env, "PGAPPNAME": self.name},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop(self, signal_number: Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end of the process and return its exit status."""
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(signal_number)
        process.send_signal(signal.SIGCONT)  # a stopped process handles no other signal
        return process.wait(DEADLINE)

    def kill(self) -> None:
        """Kill the process if it is running."""
        if self.process is not None:
            self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Suspend the process: it keeps its connections and does not notice that time passes."""
        self._send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen process."""
        self._send_signal(signal.SIGCONT)

    def _send_signal(self, number: Signals) -> None:
        assert self.process is not None, "the worker is not running"
        self.process.send_signal(number)


class Cluster:
    """Web processes and workers on one PostgreSQL and one Redis.

    Each member of `webs` is an Installation to its clients; all of them share the same data.
    """

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        redis: Redis,
        *,
        webs: int = 2,
        workers: int = 1,
        web: type[Installation] = Installation,
        worker: type[Worker] = Worker,
        **env: str,
    ) -> None:
        self.postgres = postgres
        self.redis = redis
        settings = {
            "MARU_DATA_DIR": str(folder / "shared"),
            "MARU_DATABASE_URL": postgres.url,
            "MARU_REDIS_URL": redis.url,
            "MARU_SECRET_KEY": SECRET_KEY,
            **env,
        }
        self.webs = [web(_new(folder / f"web-{n}"), **settings) for n in range(webs)]
        self.workers = [
            worker(_new(folder / f"worker-{n}"), self.webs[0].env) for n in range(workers)
        ]
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.prepare()
            for worker in self.workers:
                worker.start()
                stack.callback(worker.kill)
            for web in self.webs:
                stack.callback(web.stop, signal.SIGKILL)
                web.start()
            self.wait_for_workers()
            self._exits = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def prepare(self) -> None:
        """Migrate the database if necessary, as an operator does before the first start.

        The static files are there as in an image.
        """
        files = Path(self.webs[0].env["MARU_DATA_DIR"]) / "static"
        if not files.exists():
            files.parent.mkdir(parents=True, exist_ok=True)
            files.symlink_to(_collected_files())
        if not self.postgres.is_migrated:
            migrate(self.webs[0])

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it prints."""
        return self.webs[0].manage(*arguments)

    def populate(self, rooms: int = 1, members: int = 2, *options: str) -> list[PopulatedRoom]:
        """Create a team with rooms and members; `options` go to `manage.py populate`."""
        return self.webs[0].populate(rooms, members, *options)

    def wait_for_workers(self) -> None:
        """Return when every worker listens for notifications, that is, has imported CrewAI."""
        # One connection for all polls: opening one per poll would slow the workers down.
        with self.postgres.connect() as connection:
            until(lambda: _listening(connection) == len(self.workers), 2 * DEADLINE)


def _listening(connection: psycopg.Connection) -> int:
    """Return the number of workers that listen for notifications."""
    listening = "SELECT FROM pg_stat_activity WHERE query = %s"
    return connection.execute(listening, [f"LISTEN {CHANNEL}"]).rowcount


@contextmanager
def private_cluster(folder: Path, provider: str, **options: Any) -> Iterator[Cluster]:
    """Run a Cluster with new stores; the egress guard allows the address of `provider`.

    `options` are keyword arguments of Cluster.
    """
    with (
        MigratedPostgres() as postgres,
        Redis() as redis,
        Cluster(folder, postgres, redis, MARU_EGRESS_ALLOW=provider, **options) as started,
    ):
        yield started


def migrate(installation: Installation) -> None:
    """Migrate the database."""
    installation.manage("migrate", "--verbosity", "0")


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
