"""Runs that call tools, step by step as a worker and the engine do it, without an engine."""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from django.utils import timezone

from accounts.ids import new_id
from accounts.models import User
from agents.models import Persona, PersonaTool, Tool
from agents.tool_types import CallRequest, CallStateName, ToolResult, ToolSpec
from rooms import services
from rooms.event_log import events_after
from rooms.models import Message, Run, ToolCall
from rooms.runs import leases, lifecycle
from rooms.runs.lifecycle import Job
from rooms.runs.steps import journal, waiting
from rooms.runs.steps.calls import state_name
from tests.rooms.claiming import claim_run, start_run
from tests.rooms.conftest import Cast

WORKER = "worker"
ARGUMENTS = '{"to": "all"}'
ARGUMENTS_SHA256 = sha256(ARGUMENTS.encode()).hexdigest()


def make_tool(name: str, *, changes: bool = False, idempotent: bool = False) -> ToolSpec:
    return ToolSpec(
        id=new_id(),
        name=name,
        title=name.title(),
        description="A tool of the tests.",
        parameters={"type": "object"},
        reach="internet",
        changes=changes,
        idempotent=idempotent,
        source="installed",
        key=f"tests.tools:{name}",
        sha256="a",
    )


LOOK = make_tool("look", idempotent=True)
SEND = make_tool("send", changes=True)


def install(tool: ToolSpec) -> None:
    """Store a tool as one that the operator has installed, unless it is stored already."""
    fields = ("key", "name", "title", "description", "parameters", "reach", "changes", "idempotent")
    defaults = {name: getattr(tool, name) for name in fields}
    Tool.objects.get_or_create(
        pk=tool.id,
        defaults=defaults | {"sha256": tool.sha256, "approved_sha256": tool.sha256},
    )


def set_policy(cast: Cast, tool: ToolSpec, policy: str, deciders: str = "asker") -> None:
    install(tool)
    PersonaTool.objects.update_or_create(
        persona=cast.persona, tool=tool.id, defaults={"policy": policy, "deciders": deciders}
    )


def request(tool: ToolSpec | None = SEND, arguments: str = ARGUMENTS) -> CallRequest:
    name = tool.name if tool else "none"
    return CallRequest(
        id=new_id(), call_id=f"call_{name}", name=name, arguments=arguments, spec=tool
    )


def ask_about_call(persona: Persona, run_id: UUID, *, policy: str = "ask") -> UUID:
    """Let a worker start a run, which then waits for a decision on a call, and return the call."""
    install(SEND)
    PersonaTool.objects.create(persona=persona, tool=SEND.id, policy=policy)
    job = start_again(run_id)
    call = request(SEND)
    propose(job, call, number=1)
    if policy == "always":
        execute(job, call.id)
        return call.id
    waiting.wait(job, "Let me see.", None)
    return call.id


def started(cast: Cast, asker: User | None = None) -> Job:
    """Let the member, unless `asker` is given, ask, and a worker start the run."""
    user = asker or cast.member
    (run,) = services.post_message(user=user, room_id=cast.room.pk, text="hello").runs
    return start_again(run)


def start_again(run_id: UUID, owner: str = WORKER) -> Job:
    """Claim a queued run, the only one, and start it."""
    assert claim_run(owner) == run_id
    job = start_run(run_id, owner)
    assert job is not None
    return job


def lose(job: Job) -> None:
    """Let the lease of a worker expire that was killed, and queue its run again."""
    Run.objects.filter(pk=job.run).update(lease_until=timezone.now() - timedelta(seconds=1))
    leases.reap()


def propose(job: Job, *calls: CallRequest, number: int = 0) -> list[CallStateName]:
    stored = journal.propose(job, number, "Let me see. ", (10, 2), calls)
    return [state_name(call.state) for call in stored]


def begin(job: Job, call: UUID) -> bool:
    """Begin a call as the engine does; return False if it may not run."""
    return journal.begin(job, call) is None


def begun(cast: Cast, tool: ToolSpec = LOOK) -> tuple[Job, CallRequest]:
    """Let a run of the member begin a call that its policy allows."""
    set_policy(cast, tool, "always")
    job = started(cast)
    call = request(tool)
    propose(job, call)
    assert begin(job, call.id)
    return job, call


def execute(job: Job, call: UUID, result: str | ToolResult = "the result") -> bool:
    """Run a call as the engine does; return False if it may not run."""
    if not begin(job, call):
        return False
    stored = ToolResult(result, short="1 result") if isinstance(result, str) else result
    journal.finish(job, call, stored, 7)
    return True


@dataclass(frozen=True)
class Asked:
    """A run that waits for a decision on one call."""

    job: Job
    call: UUID

    @property
    def run(self) -> Run:
        return Run.objects.get(pk=self.job.run)

    @property
    def row(self) -> ToolCall:
        return ToolCall.objects.get(pk=self.call)

    @property
    def answer(self) -> Message:
        return Message.objects.get(pk=self.job.message)

    @property
    def sha256(self) -> str:
        return self.row.arguments_sha256


def waiting_run(
    cast: Cast, tool: ToolSpec = SEND, policy: str = "ask", asker: User | None = None
) -> Asked:
    """Let a run of the member, unless `asker` is given, ask people about a call, and wait."""
    set_policy(cast, tool, policy)
    job = started(cast, asker)
    call = request(tool)
    assert propose(job, call) == ["asked"]
    waiting.wait(job, "Let me see. ", None)
    return Asked(job, call.id)


def decide(cast: Cast, asked: Asked, decision: str = "allow", **fields: object) -> ToolCall:
    """Decide as the member, who has asked, unless `user` is given."""
    arguments = {"user": cast.member, "arguments_sha256": asked.sha256, **fields}
    return services.decide_call(call_id=asked.call, decision=decision, **arguments)  # type: ignore[arg-type]  # the fields of a test


def kinds(cast: Cast, last: int) -> list[str]:
    """Return the types of the last events of the room."""
    return [event.type for event in events_after(cast.room.pk, 0)][-last:]


def complete(job: Job, text: str = "Let me see. Done.") -> None:
    lifecycle.complete(job, text, None)
