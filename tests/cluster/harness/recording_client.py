"""Somebody in a room who comes back after every cut, and remembers what the room has told them."""

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

CUT = (OSError, WebSocketException, TimeoutError, EOFError)
ENDINGS = {"run.completed", "run.failed", "run.cancelled"}
T = TypeVar("T")


class Refused(Exception):
    """A command was refused, and would be again."""


@dataclass
class Witness:
    """One person in one room, by way of one web process.

    `heard` is what it was told of the log after `since`, where it was shown the room afresh.
    `complaints` is what was wrong with a frame at the moment at which it came: text of an older
    attempt or of an answer that has ended, and canaries of other rooms. `shown` counts the deltas
    of each run.
    """

    web: Installation
    person: Person
    room: str
    timeline: Timeline = field(default_factory=Timeline)
    since: int = 0
    heard: dict[int, Frame] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    deltas: int = 0
    refusals: int = 0
    removed: bool = False
    shown: Counter[str] = field(default_factory=Counter)
    _connection: ClientConnection | None = None
    _joined: asyncio.Event = field(default_factory=asyncio.Event)
    _refs: Iterator[int] = field(default_factory=lambda: count(1))
    _answers: dict[str, asyncio.Future[Frame | None]] = field(default_factory=dict)
    _stopping: dict[str, str] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _attempts: dict[str, int] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    # What it does

    async def stay(self) -> None:
        """Be in the room until cancelled, whatever becomes of the connection."""
        while True:
            try:
                async with self.web.socket(self.person) as socket:
                    self._connection = socket.connection
                    await self._listen(socket.connection)
            except CUT:
                pass
            except Exception as error:  # or nobody would learn of it before all have lost patience
                self.complaints.append(f"could not follow: {error!r}")
            self._lose()
            await asyncio.sleep(random.uniform(0.05, 0.3))

    async def say(self, text: str, *, model: str | None = None) -> Frame:
        """Say something until it is acknowledged; however often that is, it is one message."""
        personas = [self.persona(model)] if model else []
        fields = {"client_id": str(uuid4()), "reply_to": None, "personas": personas}
        result = await self.command("message.send", room=self.room, text=text, **fields)
        self._asked.update(result["runs"])
        return result

    def persona(self, model: str) -> str:
        """Return the persona that a model answers for."""
        personas = self.timeline.personas
        return next(one for one, persona in personas.items() if persona["handle"] == model)

    async def command(self, kind: str, **fields: Any) -> Frame:
        """Give a command until it is done; return its result."""
        async with asyncio.timeout(DEADLINE):
            while True:
                answer = await self.once(kind, **fields)
                if answer is not None and answer["type"] == "command.done":
                    return dict(answer["result"])
                if answer is not None:
                    self.refusals += 1
                    if answer["code"] not in {"unavailable", "rate_limited"}:
                        raise Refused(answer)
                await asyncio.sleep(random.uniform(0.1, 0.3))

    async def once(self, kind: str, **fields: Any) -> Frame | None:
        """Give a command once; return the answer to it, None where the connection was cut."""
        await self._joined.wait()
        ref = str(next(self._refs))
        answer: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        self._answers[ref] = answer
        if kind == "run.cancel":
            self._stopping[ref] = fields["run"]
        try:
            await self._tell({"type": kind, "ref": ref, **fields})
            return await answer
        finally:
            del self._answers[ref]
            self._stopping.pop(ref, None)

    async def until(self, condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
        """Return once it is so; asked again after each frame."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._moved.clear()
                await self._moved.wait()

    async def present(self) -> None:
        """Return once it is in the room."""
        await self._joined.wait()

    async def ended(self, run: str, seconds: float = DEADLINE) -> None:
        """Return once the room was told that the run has ended."""
        self._asked.add(run)
        await self.until(lambda: run in self._ended, seconds)

    async def caught_up(self, seq: int, seconds: float = DEADLINE) -> None:
        """Return once everything up to `seq` was heard."""
        await self.until(lambda: (self.timeline.seq or 0) >= seq, seconds)

    # What it hears

    async def _listen(self, connection: ClientConnection) -> None:
        await self._join()
        joining = True
        while True:
            raw = await connection.recv(decode=False)
            frame: Frame = orjson.loads(raw)
            if strange := oracle.foreign(raw.decode(), self.room):
                self.complaints.append(f"{frame['type']} with the words of {strange}")
            if frame["type"] == "room.snapshot":
                joining = False
            elif frame["type"] == "command.refused" and frame["ref"] == "join":
                await asyncio.sleep(0.2)
                await self._join()
            self._hear(frame)
            if self.timeline.hole and not joining:
                joining = True
                await self._join()

    async def _join(self) -> None:
        await self._tell(
            {"type": "room.join", "ref": "join", "room": self.room, **self.timeline.join()}
        )

    async def _tell(self, command: Frame) -> None:
        """Send a command; one that cannot be sent has no answer, and the loop comes back."""
        connection = self._connection
        if connection is None:
            self._give_up(command["ref"])
            return
        try:
            await connection.send(orjson.dumps(command).decode())
        except CUT:
            self._give_up(command["ref"])

    def _give_up(self, ref: str) -> None:
        answer = self._answers.get(ref)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _lose(self) -> None:
        self._connection = None
        self._joined.clear()
        for ref in list(self._answers):
            self._give_up(ref)

    def _hear(self, frame: Frame) -> None:
        kind = frame["type"]
        if self.removed and frame.get("room") == self.room:
            self.complaints.append(f"{kind} of a room that they were removed from")
        self.removed = self.removed or kind == "room.removed"
        if kind == "message.delta":
            self.judge(frame)
        elif kind == "room.snapshot":
            self._note_snapshot(frame)
        elif kind in DURABLE:
            self.note(frame)
        elif kind in {"command.done", "command.refused"}:
            self._note_answer(frame)
        self.timeline.apply(frame)
        if kind == "room.snapshot":
            self._joined.set()
        self._moved.set()

    def note(self, event: Frame) -> None:
        """Keep an event of the log; one that was heard before must be the same again."""
        before = self.heard.setdefault(event["seq"], event)
        if before != event:
            self.complaints.append(f"two events have the seq {event['seq']}")
        if event["type"] == "run.started":
            run = event["run"]
            self._attempts[run["answer"]] = max(
                run["attempt"], self._attempts.get(run["answer"], 0)
            )
        elif event["type"] in ENDINGS:
            self._ended.add(event["run"]["id"])

    def _note_answer(self, frame: Frame) -> None:
        """Once a stop is acknowledged here, the run has ended here."""
        if frame["type"] == "command.done" and frame["ref"] in self._stopping:
            self._ended.add(self._stopping[frame["ref"]])
        answer = self._answers.get(frame["ref"])
        if answer is not None and not answer.done():
            answer.set_result(frame)

    def _note_snapshot(self, snapshot: Frame) -> None:
        """A room afresh, after too much was missed, tells what has not ended yet, and no events."""
        for event in snapshot["events"] or []:
            self.note(event)
        if snapshot["state"] is not None:
            unended = {run["id"] for run in snapshot["state"]["runs"]}
            self._ended |= self._asked - unended
            self.since = snapshot["seq"]
            self.heard.clear()

    def judge(self, delta: Frame) -> None:
        self.deltas += 1
        self.shown[delta["run"]] += 1
        where = f"delta {delta['attempt']}:{delta['seq']} of {delta['message']}"
        if delta["run"] in self._ended:
            self.complaints.append(f"{where} after the end of its run")
        elif delta["attempt"] < self._attempts.get(delta["message"], 0):
            self.complaints.append(f"{where} after a later attempt has begun")


@dataclass
class Audience:
    """Witnesses in some rooms: one for each room and web process, in the order of the latter."""

    witnesses: dict[str, list[Witness]]

    @property
    def rooms(self) -> list[str]:
        return list(self.witnesses)

    @property
    def everybody(self) -> list[Witness]:
        return [witness for those in self.witnesses.values() for witness in those]

    def anybody(self, room: str) -> Witness:
        """Return somebody in the room, on whichever web process."""
        return random.choice(self.witnesses[room])


@asynccontextmanager
async def audience(webs: list[Installation], rooms: list[PopulatedRoom]) -> AsyncIterator[Audience]:
    """Have one member of each room listen on each web process."""
    gathered = Audience(
        {
            room.id: [
                Witness(web, person, room.id)
                for web, person in zip(webs, room.members, strict=False)
            ]
            for room in rooms
        }
    )
    async with AsyncExitStack() as stack:
        for witness in gathered.everybody:
            stack.push_async_callback(_end, asyncio.create_task(witness.stay()))
        async with asyncio.timeout(DEADLINE):
            await together(witness.present() for witness in gathered.everybody)
        yield gathered


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all of it; the first failure ends the rest."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
