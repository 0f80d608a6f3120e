"""The runbook's commands work, and it explains every metric, log event and readiness reason."""

import ast
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client.metrics import MetricWrapperBase

from agents import metrics as agents_metrics
from maru.monitoring import exposition, http_requests
from maru.monitoring.stores import StoreCollector
from rooms import metrics as rooms_metrics
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE
from tests.deploy.runbook import RUNBOOK, Operator, blocks
from tests.live import ROOT, Installation, Person

CLOSED_ADDRESS = "127.0.0.1:9"
CHANGES_OF_THE_OWNER = (
    "DROP TRIGGER accounts_audit_rows ON accounts_auditentry",
    "UPDATE accounts_auditentry SET action = ''",
    "DELETE FROM accounts_auditentry",
    "TRUNCATE accounts_auditentry",
    "DROP TABLE later",
    "CREATE TABLE mine (id int)",
)
POPULATE = "docker compose exec -T web-1 python manage.py populate --force --members 2"


class WebProcess(Installation):
    """A web process that counts as started once it serves, because there is no worker."""

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=DEADLINE) as response:
                return bool(response.status == 200)
        except OSError:
            return False


class ImagePostgres(Postgres):
    """A PostgreSQL with the superuser of the postgres image."""

    superuser = "postgres"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with ImagePostgres() as started:
        yield started


@pytest.fixture(scope="module")
def operator(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis
) -> Operator:
    """An operator who has run the commands of the first start."""
    folder = tmp_path_factory.mktemp("deploy")
    operator = Operator(folder, postgres)
    for script in ("first_secrets.sh", "postgres_init.sh", "app_role.sql"):
        (folder / script).symlink_to(ROOT / "deploy" / script)
    (folder / "password.txt").write_text("ondol-warms-the-floor")
    secrets, start, first_account = blocks("First start")

    operator.type(secrets)
    database = operator.settings["MARU_DATABASE_URL"]
    operator.set(
        MARU_DATABASE_URL=database.replace("@postgres/", f"@127.0.0.1:{postgres.port}/"),
        MARU_REDIS_URL=redis.url,
        MARU_EGRESS_ALLOW=CLOSED_ADDRESS,
    )
    operator.type("set -a; . ./postgres.env; exec ./postgres_init.sh")  # as the image does
    operator.type(start)
    assert "Created the team Your team" in operator.type(first_account)
    return operator


@pytest.fixture(scope="module")
def member(operator: Operator) -> Person:
    """A member of a team that has a connection with a key."""
    provider = f"--provider http://{CLOSED_ADDRESS}/v1 --model large"
    operator.type(f"{POPULATE} --rooms 2 --out made.json {provider}")
    rooms = json.loads((operator.folder / "made.json").read_text())["rooms"]
    return Person(**rooms[0]["members"][1])


def counts(url: str) -> dict[str, int]:
    """Return the number of rows of every table."""
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # type: ignore[index]  # a count has a row
            for (name,) in names
        }


def test_backup_is_restored_completely_and_a_web_process_starts(
    operator: Operator, member: Person, tmp_path: Path
) -> None:
    before = counts(operator.settings["MARU_DATABASE_URL"])

    operator.type("".join(blocks("Back up")))
    operator.type(f"{POPULATE} --rooms 1 --out later.json")
    output = operator.type("".join(blocks("Restore")))

    restored = operator.settings["MARU_DATABASE_URL"]
    assert restored.endswith("/restored")
    assert counts(restored) == before
    assert before["rooms_room"] == 3
    assert "Every stored key can be read." in output
    with WebProcess(tmp_path, **operator.settings) as web:
        status, me = web.request("GET", "/me", member.token)
    assert (status, me["id"]) == (200, member.user)


def test_wrong_secret_key_is_reported_before_the_start(operator: Operator, member: Person) -> None:
    right = operator.settings["MARU_SECRET_KEY"]
    operator.set(MARU_SECRET_KEY="w" * 64)
    *_, check, up = "".join(blocks("Restore")).splitlines()
    before = operator.docker_calls()

    with pytest.raises(RuntimeError, match="These keys cannot be read"):
        operator.type(f"{check}\n{up}")

    assert f"docker {operator.docker_calls()[-1]}" == check
    assert len(operator.docker_calls()) == len(before) + 1
    operator.set(MARU_SECRET_KEY=right)


def test_new_secret_key_reads_everything_after_rotation(operator: Operator, member: Person) -> None:
    rotate, check = blocks("Another secret key")
    old = operator.settings["MARU_SECRET_KEY"]
    operator.set(MARU_SECRET_KEY="n" * 64, MARU_SECRET_KEY_FALLBACKS=old)
    assert "Encrypted under MARU_SECRET_KEY: 1 keys." in operator.type(rotate)

    operator.set(MARU_SECRET_KEY_FALLBACKS="")

    assert operator.type(check) == "Every stored key can be read.\n"


def name_of_database(operator: Operator) -> str:
    """Return the name of the database, which another test may have restored under a new name."""
    return operator.settings["MARU_DATABASE_URL"].rpartition("/")[2]


def run_role_script(operator: Operator, user: str, database: str) -> str:
    """Run app_role.sql as a role of PostgreSQL; return its output, or raise RuntimeError."""
    psql = f"psql --quiet --username={user} --dbname={database} --set=password=another"
    return operator.type(f"{psql} < app_role.sql")


@pytest.mark.parametrize(
    ("user", "database", "sentence"),
    [
        ("stranger", None, 'Run this script as "maru" or as a superuser'),
        ("maru", None, "Run this script as a superuser, or let one run"),
        ("postgres", "postgres", "has no tables of Maru"),
    ],
)
def test_script_of_the_role_names_the_role_that_must_run_it(
    operator: Operator, postgres: Postgres, user: str, database: str | None, sentence: str
) -> None:
    with postgres.connect() as superuser:
        superuser.execute("DROP ROLE IF EXISTS stranger")
        superuser.execute("CREATE ROLE stranger LOGIN CREATEROLE")

    with pytest.raises(RuntimeError, match=re.escape(sentence)):
        run_role_script(operator, user, database or name_of_database(operator))

    with postgres.connect() as superuser:
        made = superuser.execute("SELECT FROM pg_roles WHERE rolname = 'maru_app'").fetchall()
    assert made == []


def test_processes_get_a_role_that_cannot_change_the_audit_log(operator: Operator) -> None:
    database = name_of_database(operator)
    owner_url = operator.settings["MARU_DATABASE_URL"]
    (commands,) = blocks("A role that cannot change the audit")

    operator.type(commands.replace("--dbname=maru", f"--dbname={database}"))

    app_url = operator.settings["MARU_DATABASE_URL"]
    assert "//maru_app:" in app_url
    operator.type(f"{POPULATE} --rooms 1 --out by_app.json")
    purge = "docker compose run --rm migrate python manage.py purge"
    assert "0 teams" in operator.type(purge)
    assert purge in RUNBOOK.read_text()
    with psycopg.connect(owner_url, autocommit=True) as owner:
        is_super = owner.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert is_super.fetchall() == [(False,)]
        owner.execute("CREATE TABLE later (id bigserial, word text)")  # as a later migration does
    with psycopg.connect(app_url, autocommit=True) as app:
        app.execute("INSERT INTO later (word) VALUES ('new')")
        app.execute("UPDATE later SET word = 'newer'")
        app.execute("DELETE FROM later")
        for statement in CHANGES_OF_THE_OWNER:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)
    assert "keeps its password" in run_role_script(operator, "maru", database)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("DROP TABLE later")


@pytest.mark.parametrize(
    ("fault", "repair", "sentence"),
    [
        ("ALTER ROLE maru_app CREATEDB", "ALTER ROLE maru_app NOCREATEDB", "has attributes"),
        ("GRANT maru TO maru_app", "REVOKE maru FROM maru_app", "a member of another role"),
        (
            "GRANT UPDATE ON accounts_auditentry TO PUBLIC",
            "REVOKE UPDATE ON accounts_auditentry FROM PUBLIC",
            "can still change the audit log",
        ),
    ],
)
def test_role_with_more_rights_than_it_needs_is_refused(
    operator: Operator, postgres: Postgres, fault: str, repair: str, sentence: str
) -> None:
    database = name_of_database(operator)
    superuser = f"psql --quiet --username=postgres --dbname={database} --command"
    operator.type(f"{superuser} '{fault}'")

    with pytest.raises(RuntimeError, match=sentence):
        run_role_script(operator, "postgres", database)

    operator.type(f"{superuser} '{repair}'")
    run_role_script(operator, "maru", database)


def explained() -> set[str]:
    """Return every code span of the runbook's text."""
    text = re.sub(r"^```.*?^```", "", RUNBOOK.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"`([^`]+)`", text)
    return {code.partition("{")[0] for code in found}


def exported() -> set[str]:
    """Return the names of all metrics of Maru, as /metrics has them."""
    modules = (rooms_metrics, agents_metrics, http_requests, exposition)
    known = [metric for module in modules for metric in vars(module).values()]
    ours = [metric for metric in known if isinstance(metric, MetricWrapperBase)]
    described = [*StoreCollector().describe(), *(m for one in ours for m in one.describe())]
    suffix = {"counter": "_total", "info": "_info"}
    return {metric.name + suffix.get(metric.type, "") for metric in described}


def test_every_metric_is_explained_and_no_other() -> None:
    names = exported()

    assert names - explained() == set()
    assert {code for code in explained() if code.startswith("maru_")} - names <= {"maru_app"}
    assert {"maru_sockets", "maru_tokens_total", "maru_redis_up", "maru_build_info"} <= names


def logged(source: str) -> set[str]:
    """Return the events that are logged at level WARNING or above; fail if one is no literal."""
    found: set[str] = set()
    for call in ast.walk(ast.parse(source)):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        logger = call.func.value
        if not (isinstance(logger, ast.Name) and logger.id in {"log", "logger"}):
            continue
        if call.func.attr in {"warning", "error", "critical", "exception"}:
            literals = [node for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
            assert literals, ast.unparse(call)
            found |= {str(literal.value) for literal in literals}
    return found


def test_every_log_event_of_warning_level_is_explained() -> None:
    sources = [
        path.read_text()
        for folder in ("accounts", "agents", "platform", "rooms")
        for path in (ROOT / folder).rglob("*.py")
    ]
    events = {event for source in sources for event in logged(source)}

    assert events - explained() == set()
    assert {"companion.ended", "redis.away", "redis.refused"} <= events


def test_every_explained_log_event_exists() -> None:
    table = RUNBOOK.read_text().split("| log event |")[1]
    named = re.findall(r"`(\w+\.\w+)`", table.partition("\n\n")[0])
    sources = "".join(
        path.read_text()
        for folder in ("accounts", "agents", "platform", "rooms")
        for path in (ROOT / folder).rglob("*.py")
    )

    assert [event for event in named if f'"{event}"' not in sources] == []
    assert len(named) > 20


@pytest.mark.parametrize(
    "call",
    [
        'log.warning("a.b")',
        'log.error(\n    "a.b", room=1\n)',
        'log.warning("a.b" if x else "c.d")',
    ],
)
def test_log_event_is_found(call: str) -> None:
    assert "a.b" in logged(call)


def test_every_readiness_reason_is_explained() -> None:
    assert {"database", "runs", *rooms_metrics.DEGRADED_REASONS} - explained() == set()
