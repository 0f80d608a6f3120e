"""Reports the queries of a block that lock rows or write, even on SQLite without row locks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from django.db import connection
from django.db.models.sql.compiler import SQLCompiler

import rooms.permissions
from accounts.database import prepared_queries

WRITES = ("INSERT", "UPDATE", "DELETE")


@contextmanager
def before_locks_and_writes(call: Callable[[str], None]) -> Iterator[None]:
    """Call `call` with "lock" or the SQL before each query that locks rows or writes.

    Queries of `call` itself are passed over.
    """
    busy = False

    def report(what: str) -> None:
        nonlocal busy
        if not busy:
            busy = True
            try:
                call(what)
            finally:
                busy = False

    def executed(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(WRITES):
            report(sql)
        return execute(sql, *rest)

    row_locks = SimpleNamespace(features=SimpleNamespace(has_select_for_update=True))
    with ExitStack() as stack:
        for compiler in (SQLCompiler, prepared_queries._Execution):
            reporting = _reporting_locks(compiler.execute_sql, report)
            stack.enter_context(patch.object(compiler, "execute_sql", reporting))
        stack.enter_context(patch.object(rooms.permissions, "connection", row_locks))
        stack.enter_context(connection.execute_wrapper(executed))
        yield


def _reporting_locks(
    execute_sql: Callable[..., Any], report: Callable[[str], None]
) -> Callable[..., Any]:
    def compiled(self: SQLCompiler, *args: Any, **options: Any) -> Any:
        if self.query.select_for_update:
            report("lock")
        return execute_sql(self, *args, **options)

    return compiled


def steps_after_audit(act: Callable[[], object]) -> list[str]:
    """Return the locks and writes of `act` that follow its first audit entry.

    An entry locks the log of the team. A transaction that then waits for a row would deadlock with
    one that holds the row and waits for the log.
    """
    steps: list[str] = []
    with before_locks_and_writes(steps.append):
        act()
    of_log = ["accounts_auditentry" in step for step in steps]
    after = steps[of_log.index(True) :] if any(of_log) else []
    return [step for step in after if "accounts_auditentry" not in step]
