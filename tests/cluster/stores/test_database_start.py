"""Each reason against a start has its own sentence; a pooler works in session mode."""

import os
import shutil
import signal
from collections.abc import Iterator
from typing import ClassVar

import psycopg
import pytest
from pytest_django import Settings

from maru.config import postgres
from maru.config.postgres import STALLED_MILLISECONDS, ServingConnection
from tests.cluster.harness.services import Postgres, Service
from tests.live import free_port

RULES = """
local all all trust
host all maru 127.0.0.1/32 trust
host all guarded 127.0.0.1/32 scram-sha-256
hostssl all encrypted 127.0.0.1/32 trust
"""


class Pgbouncer(Service):
    """A PgBouncer before the database `postgres` of a PostgreSQL server."""

    name: ClassVar[str] = "pgbouncer"
    stop_signal = signal.SIGTERM

    def __init__(self, behind: Postgres, **options: str) -> None:
        super().__init__()
        self.behind = behind
        self.options = options

    @property
    def url(self) -> str:
        return f"postgresql://maru@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "auth_type": "any",
            "unix_socket_dir": "",
            **self.options,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        database = f"host=127.0.0.1 port={self.behind.port} user=maru dbname=postgres"
        text = "\n".join(["[databases]", f"postgres = {database}", "[pgbouncer]", *lines])
        (self.folder / "pgbouncer.ini").write_text(text + "\n")
        if account := self.account():
            shutil.chown(self.folder, account)
            shutil.chown(self.folder / "pgbouncer.ini", account)

    def account(self) -> str | None:
        """PgBouncer refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def command(self) -> list[str]:
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        return [program, "--quiet", str(self.folder / "pgbouncer.ini")]

    def responds(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            return "refused" not in str(error)
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as started:
        with started.connect() as connection:
            connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
            connection.execute("CREATE ROLE encrypted LOGIN")
            connection.execute("CREATE DATABASE closed")
            connection.execute("REVOKE CONNECT ON DATABASE closed FROM public")
        (started.data / "pg_hba.conf").write_text(RULES)
        with started.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield started


def sentence_of(url: str, settings: Settings, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line that the check prints; empty if the database can be used."""
    settings.DATABASE_URL = url
    try:
        postgres.check_reachable()
    except SystemExit:
        (line,) = capsys.readouterr().err.splitlines()
        return str(line)
    return ""


@pytest.mark.parametrize(
    ("user", "rest", "words"),
    [
        ("guarded:CANARY", "postgres", "refuses the user name or the password"),
        ("guarded", "postgres", "refuses the user name or the password"),
        ("nobody", "postgres", "add the user to pg_hba.conf"),
        ("encrypted", "postgres?sslmode=disable", "without TLS"),
        ("maru", "postgres?sslmode=require", "does not offer TLS"),
        ("maru", "absent", "no database of this name"),
    ],
)
def test_each_reason_has_its_own_sentence(
    server: Postgres,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    user: str,
    rest: str,
    words: str,
) -> None:
    url = f"postgresql://{user}@127.0.0.1:{server.port}/{rest}"

    sentence = sentence_of(url, settings, capsys)

    assert words in sentence
    assert "CANARY" not in sentence
    assert "127.0.0.1" not in sentence


def test_server_that_does_not_run_and_unknown_host_have_their_own_sentences(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    away = sentence_of(f"postgresql://maru@127.0.0.1:{free_port()}/x", settings, capsys)
    unknown = sentence_of("postgresql://maru@no-such-host.invalid/x", settings, capsys)

    assert away == (
        "The database cannot be reached. Check that it runs, and check MARU_DATABASE_URL."
    )
    assert unknown.startswith("The host name of the database is unknown.")


def test_pooler_in_session_mode_works_with_the_limit_for_stalled_transactions(
    server: Postgres, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pgbouncer(server, pool_mode="session") as pooler:
        assert sentence_of(pooler.url, settings, capsys) == ""
        with ServingConnection.connect(pooler.url) as serving:
            limit = serving.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        with psycopg.connect(pooler.url) as command:
            none = command.execute("SHOW idle_in_transaction_session_timeout").fetchone()

    assert (limit, none) == ((f"{STALLED_MILLISECONDS // 1000}s",), ("0",))


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_pooler_that_shares_sessions_is_refused_with_what_to_set(
    server: Postgres, settings: Settings, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    with Pgbouncer(server, pool_mode=mode) as pooler:
        sentence = sentence_of(pooler.url, settings, capsys)

    assert "pool_mode = session" in sentence
    assert "ignore_startup_parameters = options" in sentence


def test_startup_parameter_that_a_pooler_refuses_is_named(
    server: Postgres, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pgbouncer(server, pool_mode="session") as pooler:
        url = f"{pooler.url}?options=-c%20work_mem%3D8MB"
        sentence = sentence_of(url, settings, capsys)

    assert "`options`" in sentence


def test_only_serving_processes_limit_idle_transactions(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDED = False
    pool: dict[str, object] = {}
    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "pool", pool)

    postgres.end_stalled_sessions()

    assert pool == {"connection_class": ServingConnection}
