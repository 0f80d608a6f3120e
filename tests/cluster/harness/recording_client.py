"""Clients that stay in a room, reconnect after every cut, and record what they receive."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from tests.cluster.harness import oracle
from tests.deadlines import DEADLINE
from tests.live import Frame, Installation, Person, PopulatedRoom
from tests.wire.shapes import DURABLE
from tests.wire.timeline import Timeline

CONNECTION_ERRORS = (OSError, WebSocketException, TimeoutError, EOFError)
FINAL_EVENTS = {"run.completed", "run.failed", "run.cancelled"}
T = TypeVar("T")


class CommandRefused(Exception):
    """A command was refused with a code that a retry would not change."""


@dataclass
class RecordingClient:
    """One member in one room, connected to one web process. Runs on the event loop.

    `events` holds the durable events by seq; those up to `since` came as a snapshot's state and
    are not in it. `violations` holds what was wrong at the moment of its arrival: a delta of an
    old attempt or of an ended run, an event that changed, a canary of another room.
    `tokens` counts the tokens in the deltas of each run: the stub provider ends each with a space.
    """

    web: Installation
    person: Person
    room: str
    timeline: Timeline = field(default_factory=Timeline)
    since: int = 0
    events: dict[int, Frame] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    deltas: int = 0
    refusals: int = 0
    removed: bool = False
    tokens: Counter[str] = field(default_factory=Counter)
    _connection: ClientConnection | None = None
    _joined: asyncio.Event = field(default_factory=asyncio.Event)
    _refs: Iterator[int] = field(default_factory=lambda: count(1))
    _answers: dict[str, asyncio.Future[Frame | None]] = field(default_factory=dict)
    _cancels: dict[str, str] = field(default_factory=dict)
    _requested: set[str] = field(default_factory=set)
    _attempts: dict[str, int] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _received: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Stay in the room and reconnect after every error, until cancelled."""
        while True:
            try:
                async with self.web.socket(self.person) as socket:
                    self._connection = socket.connection
                    await self._receive(socket.connection)
            except CONNECTION_ERRORS:
                pass
            except Exception as error:  # recorded here: the task's result is never read
                self.violations.append(f"cannot apply a frame: {error!r}")
            self._connection = None
            self._joined.clear()
            for ref in list(self._answers):
                self._fail(ref)
            await asyncio.sleep(random.uniform(0.05, 0.3))

    # Commands

    async def send_message(self, text: str, *, model: str | None = None) -> Frame:
        """Send a message until it is acknowledged; its client_id makes the retries one message."""
        personas = [self.persona(model)] if model else []
        fields = {"client_id": str(uuid4()), "reply_to": None, "personas": personas}
        result = await self.command("message.send", room=self.room, text=text, **fields)
        self._requested.update(result["runs"])
        return result

    def persona(self, model: str) -> str:
        """Return the id of the persona that uses this model."""
        personas = self.timeline.personas
        return next(one for one, persona in personas.items() if persona["handle"] == model)

    async def command(self, kind: str, **fields: Any) -> Frame:
        """Send a command until it is done; return its result.

        A cut connection and the codes `unavailable` and `rate_limited` are retried. Any other code
        raises CommandRefused.
        """
        async with asyncio.timeout(DEADLINE):
            while True:
                answer = await self._send_command(kind, **fields)
                if answer is not None and answer["type"] == "command.done":
                    return dict(answer["result"])
                if answer is not None:
                    self.refusals += 1
                    if answer["code"] not in {"unavailable", "rate_limited"}:
                        raise CommandRefused(answer)
                await asyncio.sleep(random.uniform(0.1, 0.3))

    async def _send_command(self, kind: str, **fields: Any) -> Frame | None:
        """Send a command once; return the answer, or None if the connection was cut."""
        await self._joined.wait()
        ref = str(next(self._refs))
        answer: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        self._answers[ref] = answer
        if kind == "run.cancel":
            self._cancels[ref] = fields["run"]
        try:
            await self._send({"type": kind, "ref": ref, **fields})
            return await answer
        finally:
            del self._answers[ref]
            self._cancels.pop(ref, None)

    # Waiting

    async def until(self, condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
        """Return when the condition is true; it is evaluated after each frame."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._received.clear()
                await self._received.wait()

    async def until_joined(self) -> None:
        await self._joined.wait()

    async def until_ended(self, run: str, seconds: float = DEADLINE) -> None:
        """Return when the final event of the run was received or a snapshot lacks the run."""
        self._requested.add(run)
        await self.until(lambda: run in self._ended, seconds)

    async def until_seq(self, seq: int, seconds: float = DEADLINE) -> None:
        """Return when every event up to `seq` was received."""
        await self.until(lambda: (self.timeline.seq or 0) >= seq, seconds)

    # Receiving

    async def _receive(self, connection: ClientConnection) -> None:
        await self._join()
        joining = True
        while True:
            raw = await connection.recv(decode=False)
            frame: Frame = orjson.loads(raw)
            if foreign := oracle.foreign_canaries(raw.decode(), self.room):
                self.violations.append(f"{frame['type']} with canaries of {foreign}")
            if frame["type"] == "room.snapshot":
                joining = False
            elif frame["type"] == "command.refused" and frame["ref"] == "join":
                await asyncio.sleep(0.2)
                await self._join()
            self._handle(frame)
            if self.timeline.gap and not joining:
                joining = True
                await self._join()

    async def _join(self) -> None:
        await self._send(
            {"type": "room.join", "ref": "join", "room": self.room, **self.timeline.join()}
        )

    async def _send(self, command: Frame) -> None:
        """Send a frame. On a connection error the command's answer becomes None."""
        connection = self._connection
        if connection is None:
            self._fail(command["ref"])
            return
        try:
            await connection.send(orjson.dumps(command).decode())
        except CONNECTION_ERRORS:
            self._fail(command["ref"])

    def _fail(self, ref: str) -> None:
        answer = self._answers.get(ref)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _handle(self, frame: Frame) -> None:
        kind = frame["type"]
        if self.removed and frame.get("room") == self.room:
            self.violations.append(f"{kind} of the room after room.removed")
        self.removed = self.removed or kind == "room.removed"
        if kind == "message.delta":
            self.check_delta(frame)
        elif kind == "room.snapshot":
            self._record_snapshot(frame)
        elif kind in DURABLE:
            self.record(frame)
        elif kind in {"command.done", "command.refused"}:
            self._record_answer(frame)
        self.timeline.apply(frame)
        if kind == "room.snapshot":
            self._joined.set()
        self._received.set()

    def record(self, event: Frame) -> None:
        """Record a durable event. An event with a known seq must be equal to the first one."""
        if self.events.setdefault(event["seq"], event) != event:
            self.violations.append(f"two events have the seq {event['seq']}")
        if event["type"] == "run.started":
            run = event["run"]
            self._attempts[run["answer"]] = max(
                run["attempt"], self._attempts.get(run["answer"], 0)
            )
        elif event["type"] in FINAL_EVENTS:
            self._ended.add(event["run"]["id"])

    def _record_answer(self, frame: Frame) -> None:
        """The contract ends the run for this client with the answer to run.cancel."""
        if frame["type"] == "command.done" and frame["ref"] in self._cancels:
            self._ended.add(self._cancels[frame["ref"]])
        answer = self._answers.get(frame["ref"])
        if answer is not None and not answer.done():
            answer.set_result(frame)

    def _record_snapshot(self, snapshot: Frame) -> None:
        """A snapshot with `state` has no events; requested runs that it lacks have ended."""
        for event in snapshot["events"] or []:
            self.record(event)
        if snapshot["state"] is not None:
            unended = {run["id"] for run in snapshot["state"]["runs"]}
            self._ended |= self._requested - unended
            self.since = snapshot["seq"]
            self.events.clear()

    def check_delta(self, delta: Frame) -> None:
        """Count a delta; record a violation if its run has ended or its attempt is old."""
        self.deltas += 1
        self.tokens[delta["run"]] += delta["text"].count(" ")
        where = f"delta {delta['attempt']}:{delta['seq']} of {delta['message']}"
        if delta["run"] in self._ended:
            self.violations.append(f"{where} after the end of its run")
        elif delta["attempt"] < self._attempts.get(delta["message"], 0):
            self.violations.append(f"{where} after the start of a later attempt")


@dataclass
class RecordingClients:
    """Recording clients by room: one for each web process, in the order of the processes."""

    by_room: dict[str, list[RecordingClient]]

    @property
    def rooms(self) -> list[str]:
        return list(self.by_room)

    @property
    def all(self) -> list[RecordingClient]:
        return [client for clients in self.by_room.values() for client in clients]

    def any_in(self, room: str) -> RecordingClient:
        """Return a random client of the room."""
        return random.choice(self.by_room[room])


@asynccontextmanager
async def recording_clients(
    webs: list[Installation], rooms: list[PopulatedRoom]
) -> AsyncIterator[RecordingClients]:
    """Connect one member of each room to each web process; yield when all have joined."""
    clients = RecordingClients(
        {
            room.id: [
                RecordingClient(web, person, room.id)
                for web, person in zip(webs, room.members, strict=False)
            ]
            for room in rooms
        }
    )
    async with AsyncExitStack() as stack:
        for client in clients.all:
            stack.push_async_callback(_cancel, asyncio.create_task(client.run()))
        async with asyncio.timeout(DEADLINE):
            await gather_or_cancel(client.until_joined() for client in clients.all)
        yield clients


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results in order; the first failure cancels the other coroutines."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
