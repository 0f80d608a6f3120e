"""Personas with counted tools, people who decide, and what a run with calls must have done."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.rows import class_row

from tests.cluster.harness.cluster import Cluster, Worker
from tests.cluster.harness.services import Postgres
from tests.live import Installation, Person

ALWAYS, ASK = "tools-always", "tools-ask"
"""The personas, named by their model: their tools run at once, or after people have allowed it."""
MAX_ATTEMPTS = 3
UNKNOWN = "It is not known whether the call had an effect"
"""A part of the words that a model gets about a call whose outcome is unknown."""

INSTALL = """
from uuid import UUID, uuid5
from agents.models import Persona, PersonaTool, Tool
NAMESPACE = UUID("70020000-0000-7000-8000-000000000000")  # as in agents.tools.installed
TEXT = {"type": "string"}
SHAPE = {"type": "object", "properties": {"key": TEXT, "kill": TEXT}, "required": ["key"]}
for name, idempotent in (("look", True), ("send", False)):
    key = f"tests.cluster.harness.counted_tools:{name.title()}"
    tool, _new = Tool.objects.get_or_create(
        pk=uuid5(NAMESPACE, key),
        defaults={
            "key": key, "name": name, "title": name.title(), "parameters": SHAPE,
            "changes": not idempotent, "idempotent": idempotent,
            "sha256": "a", "approved_sha256": "a",
        },
    )
    for persona in Persona.objects.filter(handle__startswith="tools-"):
        PersonaTool.objects.update_or_create(
            persona=persona, tool=tool.pk, defaults={"policy": persona.handle[len("tools-"):]}
        )
"""


class MortalWorker(Worker):
    """A worker that kills itself at a chosen step of a call."""

    entry = ("-m", "tests.cluster.harness.mortal_worker")


@dataclass(frozen=True)
class CallRow:
    """A stored call, with the state of its run and the text of its answer."""

    id: str
    run: str
    name: str
    key: str
    state: str
    run_state: str
    attempt: int
    answer: str


CALLS = """
    SELECT call.id::text, call.run_id::text AS run, call.name,
           coalesce(call.arguments::json ->> 'key', '') AS key, call.state,
           run.state AS run_state, run.attempt, coalesce(answer.text, '') AS answer
    FROM rooms_toolcall call JOIN rooms_run run ON run.id = call.run_id
    LEFT JOIN rooms_message answer ON answer.id = run.answer_id
    WHERE run.room_id = ANY(%s::uuid[])
"""


def install_tools(cluster: Cluster) -> None:
    """Give the tools to the personas `tools-always` and `tools-ask` of all rooms."""
    cluster.manage("shell", "--no-imports", "-c", INSTALL)


def read_calls(postgres: Postgres, rooms: Collection[str]) -> list[CallRow]:
    """Return the calls of these rooms."""
    with postgres.connect() as connection:
        rows = connection.cursor(row_factory=class_row(CallRow))
        return rows.execute(CALLS, [list(rooms)]).fetchall()


def executions(folder: Path) -> Counter[tuple[str, str]]:
    """Return how often each tool was executed with each key."""
    counts = folder / "executions"
    lines = counts.read_text().splitlines() if counts.exists() else []
    return Counter((line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines)


def pending(web: Installation, person: Person) -> list[Any]:
    """Return the approvals that wait for a person."""
    status, page = web.request("GET", "/approvals?limit=200", person.token)
    assert status == 200, page
    return list(page["items"])


def decide(web: Installation, person: Person, approval: Any, decision: str = "allow") -> bool:
    """Decide on a call as a person; return False if it was decided, or withdrawn, before."""
    body = {"decision": decision, "arguments_sha256": approval["arguments_sha256"]}
    path = f"/approvals/{approval['id']}/decide"
    status, answer = web.request("POST", path, person.token, body)
    assert status in (200, 409), answer
    return status == 200


def violations(calls: Collection[CallRow], executed: Counter[tuple[str, str]]) -> Iterator[str]:
    """Yield each call that was lost, executed twice, or whose outcome the model was not told."""
    for call in calls:
        for fault in _faults(call, executed[call.name, call.key]):
            yield f"{call.name} {call.key} ({call.state}, attempt {call.attempt}): {fault}"


def _faults(call: CallRow, times: int) -> Iterator[str]:
    told = {"done": f"{call.name} of {call.key} is done", "unknown": UNKNOWN}
    least = {"done": 1}.get(call.state, 0)
    most = {"denied": 0}.get(call.state, MAX_ATTEMPTS if call.name == "look" else 1)
    if call.run_state != "completed":
        yield f"its run is {call.run_state}"
    if call.state not in ("done", "unknown", "denied"):
        yield "it has not ended"
    if not least <= times <= most:
        yield f"it was executed {times} times"
    if call.name == "look" and call.state == "unknown":
        yield "it was not repeated"
    if told.get(call.state, "") not in call.answer:
        yield "the model was not told the outcome"
