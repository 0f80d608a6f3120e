"""No request reads a large table as a whole, and each index of a large table is read by a request.

The tables have enough rows that PostgreSQL reads them sequentially if an index is missing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import SECRET_KEY
from tests.cluster.harness.services import Postgres, Redis

LARGE = {
    *("rooms_message", "rooms_roomevent", "rooms_run", "accounts_auditentry"),
    *("rooms_toolcall", "rooms_modelrequest", "rooms_runprompt", "rooms_question"),
    "rooms_quote",
}
ROWS, ROOMS = 12_000, 40
MOST_DISCARDED = 1_000
"""A node that reads more rows of a large table than it returns has no index of its own."""
IN_BULK = {"purge", "search_of_a_persona"}
"""Requests that read a bounded number of rows at once, which is most of a table of this test."""
MISSED = (
    *("message_seq_once", "room_event_seq_once", "run_of_room"),
    *("message_in_room", "message_of_thread", "tool_call_once", "quote_of_message"),
)
"""Indexes without which a request reads a whole table. Each is dropped once, to show that."""
KEYS = {
    "message_deleted",
    "message_of_user",
    "message_pinned_by",
    "message_replies",
    "run_of_call",
    "run_of_round",
    "run_stopped_by",
    "rooms_modelrequest_pkey",
    "rooms_quote_pkey",
    "tool_call_decided_by",
    "tool_call_shown_by",
    "rooms_run_requested_by_id_723b6b1b",
    "rooms_run_team_id_78416788",
}
"""Indexes that only the deletion of a referenced row reads, or the count of deleted messages."""

Report = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def report(
    root: Path, postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """The plans of all requests: with all indexes under "", and without each of MISSED."""
    arguments = [str(ROWS), "--rooms", str(ROOMS), "--without", *MISSED]
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.stores.query_plans", *arguments],
        cwd=root,
        env={
            **os.environ,
            "MARU_DATABASE_URL": postgres.url,
            "MARU_REDIS_URL": redis.url,
            "MARU_SECRET_KEY": SECRET_KEY,
            "MARU_DATA_DIR": str(tmp_path_factory.mktemp("plans")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    found: Report = json.loads(done.stdout)
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def nodes_of(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for plan in request["plans"]:
        yield from nodes(plan["Plan"])


def whole_tables(requests: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the requests that read a large table without an index of their own."""
    return [
        (name, f"{node['Node Type']} on {node['Relation Name']}")
        for name, request in requests.items()
        for node in nodes_of(request)
        if node.get("Relation Name") in LARGE
        and name not in IN_BULK
        and (
            node["Node Type"] == "Seq Scan"
            or node.get("Rows Removed by Filter", 0) * node["Actual Loops"] > MOST_DISCARDED
        )
    ]


def test_no_request_reads_a_whole_table(report: Report) -> None:
    assert whole_tables(report[""]) == []


@pytest.mark.parametrize("index", MISSED)
def test_missing_index_is_found(report: Report, index: str) -> None:
    assert whole_tables(report[index]) != []


def test_open_questions_are_found_by_the_person_they_ask(report: Report) -> None:
    found = list(nodes_of(report[""]["list_of_questions"]))

    indexes = {node["Index Name"] for node in found if "Index Name" in node}
    assert {name for name in indexes if name.startswith("question_")} <= {
        "question_asked_of",
        "question_answer_once",
    }
    assert "question_asked_of" in indexes
    assert not any(
        node["Node Type"] == "Seq Scan" and node["Relation Name"] == "rooms_question"
        for node in found
    )


def test_every_index_is_read_by_a_request_or_serves_a_deletion(
    report: Report, postgres: Postgres
) -> None:
    used = {
        node["Index Name"]
        for request in report[""].values()
        for node in nodes_of(request)
        if "Index Name" in node
    }
    with postgres.connect() as connection:
        rows = connection.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = ANY(%s)",
            [list(LARGE - {"accounts_auditentry"})],
        ).fetchall()

    unread = {name for (name,) in rows} - used - KEYS

    assert unread == set()


@pytest.mark.parametrize(
    ("request_name", "table"),
    [
        ("heartbeat", "rooms_run"),
        ("post", "rooms_room"),
        ("post", "rooms_roommember"),
        ("begin_and_finish_a_call", "rooms_toolcall"),
    ],
)
def test_frequent_update_writes_to_no_index(report: Report, request_name: str, table: str) -> None:
    updated, hot = report[""][request_name]["updates"][table]

    assert updated > 0
    assert hot == updated
