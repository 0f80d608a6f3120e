"""A production Maru of several processes, each of which can be ended and started by itself."""

import atexit
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from signal import Signals
from typing import Any, ClassVar, Self

import psycopg

from rooms.runs.notifications import CHANNEL
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE
from tests.live import ROOT, Installation, PopulatedRoom, until

SECRET_KEY = "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz"


class MigratedPostgres(Postgres):
    """A PostgreSQL with Maru's tables: to copy them takes a moment, and to make them seconds."""

    is_migrated: ClassVar[bool] = True

    def prepare(self) -> None:
        preserved = ["cp", "--archive", str(_migrated_store()), str(self.store)]
        subprocess.run(preserved, check=True)
        if account := self.account():
            shutil.chown(self.folder, account)


@cache
def _migrated_store() -> Path:
    """Return what a PostgreSQL keeps once Maru has migrated it; made once in each process."""
    folder = Path(tempfile.mkdtemp(prefix="maru-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with Postgres() as postgres, Redis() as redis:
        cluster = Cluster(folder, postgres, redis, webs=1, workers=0)
        cluster.prepare()
        postgres.stop()
        subprocess.run(["cp", "--archive", str(postgres.store), str(folder)], check=True)
    return folder / postgres.store.name


class Worker:
    """One `manage.py runagents`."""

    entry: Sequence[str] = (str(ROOT / "manage.py"), "runagents")

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env
        self.process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    @property
    def name(self) -> str:
        """What PostgreSQL calls its connections; another one after each start."""
        return f"{self.folder.name}.{self.lives}"

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return (self.folder / "worker.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None, "the worker does not run"
        return self.process.pid

    def start(self) -> None:
        """Start it; it claims runs as soon as it has imported CrewAI."""
        self.lives += 1
        with (self.folder / "worker.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.entry],
                cwd=self.folder,
                env={**self.env, "PGAPPNAME": self.name},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop(self, how: Signals = signal.SIGTERM) -> int:
        """End it; return its exit status."""
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a frozen one would never hear of it
        return process.wait(DEADLINE)

    def end(self) -> None:
        """See to it that it does not run."""
        if self.process is not None:
            self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it in mid-air: it keeps its connections, and knows nothing of the time that goes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on where it was."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: Signals) -> None:
        assert self.process is not None, "the worker does not run"
        self.process.send_signal(number)


class Cluster:
    """Web processes and workers on one PostgreSQL and one Redis.

    `webs` speak to clients as one installation each; whatever is made through one is there for all.
    """

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        redis: Redis,
        *,
        webs: int = 2,
        workers: int = 1,
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
        self.webs = [Installation(_made(folder / f"web-{n}"), **settings) for n in range(webs)]
        self.workers = [
            worker(_made(folder / f"worker-{n}"), self.webs[0].env) for n in range(workers)
        ]
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.prepare()
            for worker in self.workers:
                worker.start()
                stack.callback(worker.end)
            for web in self.webs:
                stack.callback(web.stop, signal.SIGKILL)
                web.start()
            self.wait_for_workers()
            self._exits = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def prepare(self) -> None:
        """Do what a production installation needs before its first start."""
        if not self.postgres.is_migrated:
            self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it prints."""
        return self.webs[0].manage(*arguments)

    def populate(self, rooms: int = 1, members: int = 2, *options: str) -> list[PopulatedRoom]:
        """Make a team of its own with rooms and members."""
        return self.webs[0].populate(rooms, members, *options)

    def wait_for_workers(self) -> None:
        """Return when every worker waits to be woken; each has to import CrewAI before."""
        with self.postgres.connect() as connection:  # a new one for each look would slow them down
            until(lambda: _listening(connection) == len(self.workers), 2 * DEADLINE)


def _listening(connection: psycopg.Connection) -> int:
    """Return how many workers wait to be woken."""
    listening = "SELECT FROM pg_stat_activity WHERE query = %s"
    return connection.execute(listening, [f"LISTEN {CHANNEL}"]).rowcount


@contextmanager
def cluster_of_its_own(folder: Path, provider: str, **how: Any) -> Iterator[Cluster]:
    """Run a cluster on stores that nobody else uses; its personas may reach the provider.

    `how` is what a Cluster is told beside its stores.
    """
    with (
        MigratedPostgres() as postgres,
        Redis() as redis,
        Cluster(folder, postgres, redis, MARU_EGRESS_ALLOW=provider, **how) as started,
    ):
        yield started


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
