"""Two PostgreSQL roles: the owner migrates; the application role cannot change the audit log."""

import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.live import ROOT, until

APP_ROLE = "maru_app"


class TwoRoles(Cluster):
    """A cluster whose processes use the role of `deploy/app_role.sql`."""

    def prepare(self) -> None:
        super().prepare()
        create_role(self.postgres)
        for env in [web.env for web in self.webs] + [worker.env for worker in self.workers]:
            env["MARU_DATABASE_URL"] = self.postgres.url.replace("maru@", f"{APP_ROLE}@")

    def connect(self) -> psycopg.Connection:
        """Return a connection of the application role."""
        return psycopg.connect(self.webs[0].env["MARU_DATABASE_URL"], autocommit=True)


def create_role(postgres: Postgres) -> None:
    script = (ROOT / "deploy" / "app_role.sql").read_text()
    psql = ["psql", "--quiet", postgres.url, "--set=password=x"]
    subprocess.run(psql, input=script, text=True, check=True)


@pytest.fixture(scope="module")
def two_roles(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis
) -> Iterator[TwoRoles]:
    """One web process and one worker with the application role."""
    folder = tmp_path_factory.mktemp("roles")
    with TwoRoles(folder, postgres, redis, webs=1) as started:
        yield started


def test_application_role_suffices_for_posting_answering_and_deleting(two_roles: TwoRoles) -> None:
    (room,) = two_roles.populate(rooms=1, members=2)
    (web,), owner = two_roles.webs, room.members[0]
    path = f"/rooms/{room.id}"

    status, posted = web.request("POST", f"{path}/messages", owner.token, {"text": "hello"})
    (run,) = posted["runs"]
    until(lambda: web.request("GET", f"/runs/{run}", owner.token)[1]["state"] == "completed")
    changed, _room = web.request("PATCH", path, owner.token, {"name": "renamed"})
    deleted, _none = web.request("DELETE", path, owner.token)

    assert (status, changed, deleted) == (201, 200, 204)
    _status, log = web.request("GET", f"/teams/{room.team}/audit?action=room.", owner.token)
    assert [entry["action"] for entry in log["items"][:2]] == ["room.deleted", "room.changed"]
    assert "BROKEN" not in two_roles.manage("audit", "verify")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditentry SET action = 'nothing' WHERE false",
        "DELETE FROM accounts_auditentry WHERE false",
        "TRUNCATE accounts_auditentry",
        "ALTER TABLE accounts_auditentry DISABLE TRIGGER ALL",
        "DROP TRIGGER accounts_audit_rows ON accounts_auditentry",
        "DROP TRIGGER accounts_audit_table ON accounts_auditentry",
        "DROP FUNCTION accounts_audit_refuse() CASCADE",
        "CREATE OR REPLACE FUNCTION accounts_audit_refuse() RETURNS trigger LANGUAGE sql AS ''",
        "ALTER TABLE accounts_auditentry RENAME TO gone",
        "CREATE TABLE public.accounts_other (id int)",
        "SET session_replication_role = replica",
        "SET ROLE maru",
        "DELETE FROM django_migrations WHERE false",
    ],
)
def test_application_role_can_change_neither_the_audit_log_nor_its_triggers(
    two_roles: TwoRoles, statement: str
) -> None:
    with two_roles.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_application_role_can_use_tables_that_are_created_later(two_roles: TwoRoles) -> None:
    with two_roles.postgres.connect() as owner, two_roles.connect() as app:
        owner.execute("CREATE TABLE later (id bigserial, word text)")
        try:
            app.execute("INSERT INTO later (word) VALUES ('new')")
            app.execute("UPDATE later SET word = 'newer'")
            app.execute("DELETE FROM later")
        finally:
            owner.execute("DROP TABLE later")


def test_script_of_the_role_can_be_run_again(two_roles: TwoRoles) -> None:
    create_role(two_roles.postgres)

    with two_roles.connect() as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("DELETE FROM accounts_auditentry WHERE false")
