"""One installation with a provider of its own, and a ledger of all that it said to whom."""

import json
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from tests.deadlines import DEADLINE
from tests.live import CLIENT_OPTIONS, MARU_V1, Frame, Installation, Person, PopulatedRoom, Socket
from tests.provider import Provider
from tests.wire.shapes import check_frame

ENDS = {"run.completed", "run.failed", "run.cancelled"}
NOWHERE = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Answer:
    """What the REST interface said."""

    status: int
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None

    @property
    def code(self) -> str | None:
        return self.body.get("code") if self.status >= 400 else None


@dataclass
class Ledger:
    """Every byte that each token has received, and who has been in which room."""

    heard: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    insiders: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    owners: dict[str, str] = field(default_factory=dict)

    def note(self, token: str | None, raw: bytes) -> None:
        self.heard[self.owners.get(token or "", token or "")].append(raw)

    def leaks(self) -> list[str]:
        """Say which room's id reached whom without having been in that room."""
        return [
            f"{room} reached {token[-6:] or 'nobody in particular'}"
            for token, parts in self.heard.items()
            for room, insiders in self.insiders.items()
            if token not in insiders and any(room.encode() in part for part in parts)
        ]


class Tab(Socket):
    """A client of the socket that checks the form of each frame and remembers all of them."""

    def __init__(self, connection: ClientConnection, ledger: Ledger, token: str) -> None:
        super().__init__(connection)
        self.personas: dict[str, str] = {}
        self._ledger = ledger
        self._token = token

    async def receive(self) -> Frame:
        raw = await self.connection.recv(decode=False)
        self._ledger.note(self._token, raw)
        frame: Frame = json.loads(raw)
        check_frame(frame)
        self.frames.append(frame)
        return frame

    async def tell(self, frame: Any) -> None:
        """Send something, be it a command or not."""
        text = frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)
        await self.connection.send(text)

    async def refused(self, kind: str, **fields: Any) -> str:
        """Send a command that must be refused; return the code."""
        answer = await self.command(kind, **fields)
        assert answer["type"] == "command.refused", answer
        return str(answer["code"])

    async def join(self, room: str, after: int | None = None, **live: list[int]) -> Frame:
        """Join and remember the personas of the room by the models that they ask."""
        snapshot = await super().join(room, after, **live)
        if snapshot.get("state"):
            self.personas = {p["handle"]: p["id"] for p in snapshot["state"]["personas"]}
        return snapshot

    async def send(self, room: str, text: str, **fields: Any) -> Frame:
        """Say something that must be taken; nobody answers unless asked. Return the result."""
        answer = await self.say(room, text, **{"personas": [], **fields})
        assert answer["type"] == "command.done", answer
        result: Frame = answer["result"]
        return result

    async def ask(self, room: str, model: str, text: str = "Well?") -> str:
        """Ask the persona of that model something; return the run."""
        asked = await self.send(room, text, personas=[self.personas[model]])
        run: str = asked["runs"][0]
        return run

    @asynccontextmanager
    async def asking(self, room: str, model: str) -> AsyncIterator[str]:
        """Have an answer under way, and stop it at the end if it still is."""
        run = await self.ask(room, model)
        try:
            yield run
        finally:
            await self.command("run.cancel", run=run)

    async def find(self, wanted: Callable[[Frame], bool], seconds: float = DEADLINE) -> Frame:
        """Return the frame that is as wanted, whether it has come or will come."""
        for frame in self.frames:
            if wanted(frame):
                return frame
        return await self.until(wanted, seconds)

    async def event(self, kind: str, run: str | None = None, **told: Any) -> Frame:
        """Return the event of that type, of that run, with these values."""
        return await self.find(
            lambda frame: (
                frame["type"] == kind
                and (run is None or run_of(frame) == run)
                and told.items() <= frame.items()
            )
        )

    async def ended(self, run: str) -> Frame:
        """Return the event that ends the run."""
        return await self.find(lambda frame: frame["type"] in ENDS and run_of(frame) == run)

    def of_run(self, run: str) -> list[Frame]:
        """Return what has come of a run and its answer, in order."""
        return [frame for frame in self.frames if run_of(frame) == run]

    def of_room(self, room: str) -> list[Frame]:
        """Return what has come of a room, in order."""
        return [frame for frame in self.frames if frame.get("room") == room]


def run_of(frame: Frame) -> str | None:
    """Return the run that an event is about, or whose answer it is about."""
    if isinstance(frame.get("message"), dict):
        return str(frame["message"]["run"])
    run = frame.get("run")
    return run["id"] if isinstance(run, dict) else run


def streamed(frames: list[Frame]) -> str:
    """Return what the deltas among these frames say."""
    return "".join(frame["text"] for frame in frames if frame["type"] == "message.delta")


class House:
    """A running Maru, the provider that its personas ask, and the ledger."""

    def __init__(self, installation: Installation, provider: Provider, printed: str = "") -> None:
        self.installation = installation
        self.provider = provider
        self.printed = printed
        self.ledger = Ledger()

    def populate(self, rooms: int, members: int, *models: str) -> list[PopulatedRoom]:
        """Make a team of rooms whose personas answer as these models do."""
        options = [word for model in models for word in ("--model", model)]
        if options:
            options = ["--provider", self.provider.base_url, *options]
        made = self.installation.populate(rooms, members, *options)
        for room in made:
            self.ledger.insiders[room.id] = {person.token for person in room.members}
        return made

    def token_of(self, person: Person, **fields: Any) -> tuple[str, str]:
        """Make another token for somebody; return its id and itself."""
        made = self.ask("POST", "/me/tokens", person, {"name": "another", **fields})
        assert made.status == 201, made.raw
        self.ledger.owners[made.body["token"]] = person.token
        return made.body["id"], made.body["token"]

    def expect_in(self, room: PopulatedRoom, person: Person) -> None:
        """Tell the ledger that this person may hear of the room from now on."""
        self.ledger.insiders[room.id].add(person.token)

    def ask(
        self, method: str, path: str, person: Person | str | None = None, body: Any = None
    ) -> Answer:
        """Ask the REST interface as this person, or with this token."""
        token = person.token if isinstance(person, Person) else person
        url = f"{self.installation.url}/api/v1{path}"
        request = urllib.request.Request(url, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                answer = Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                answer = Answer(error.code, error.read())
        self.ledger.note(token, answer.raw)
        return answer

    @asynccontextmanager
    async def tab(self, person: Person | str) -> AsyncIterator[Tab]:
        """Open a socket as a program does, with a bearer token."""
        token = person.token if isinstance(person, Person) else person
        async with connect(
            f"ws://127.0.0.1:{self.installation.port}/ws/",
            additional_headers={"Authorization": f"Bearer {token}"},
            subprotocols=[MARU_V1],
            **CLIENT_OPTIONS,
        ) as connection:
            yield Tab(connection, self.ledger, token)


def fresh() -> str:
    """Return an id for a message that is to be sent."""
    return str(uuid4())
