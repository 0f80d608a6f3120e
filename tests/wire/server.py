"""A running installation, its stub provider, and a log of every byte that each user received."""

import json
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.compact import COMPACT, CompactAnswers
from tests.deadlines import DEADLINE
from tests.live import CLIENT_OPTIONS, MARU_V1, Frame, Installation, Person, PopulatedRoom, Socket
from tests.openapi import contract
from tests.provider import Provider
from tests.wire.shapes import check_frame

ENDS = {"run.completed", "run.failed", "run.cancelled"}
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Response:
    """A response of the REST interface."""

    status: int
    raw: bytes
    headers: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None

    @property
    def code(self) -> str | None:
        return self.body.get("code") if self.status >= 400 else None


@dataclass
class DeliveryLog:
    """Every byte that each token received, and the tokens that may receive each room."""

    received: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    owners: dict[str, str] = field(default_factory=dict)

    def record(self, token: str | None, raw: bytes) -> None:
        self.received[self.owners.get(token or "", token or "")].append(raw)

    def leaks(self) -> list[str]:
        """Return a sentence for each token that received the id of a room it may not receive."""
        return [
            f"{room} reached {token[-6:] or 'a client without a token'}"
            for token, parts in self.received.items()
            for room, members in self.members.items()
            if token not in members and any(room.encode() in part for part in parts)
        ]


class WireClient(Socket):
    """A WebSocket client that checks the shape of each frame and records it.

    With the subprotocol `maru.v1.compact` it records the frames as `maru.v1` has them.
    """

    def __init__(self, connection: ClientConnection, deliveries: DeliveryLog, token: str) -> None:
        super().__init__(connection)
        self.personas: dict[str, str] = {}
        self._deliveries = deliveries
        self._token = token
        self._compact = CompactAnswers() if connection.subprotocol == COMPACT else None

    async def receive(self) -> Frame:
        raw = await self.connection.recv(decode=False)
        self._deliveries.record(self._token, raw)
        frame: Frame = json.loads(raw)
        if self._compact is not None:
            frame = self._compact.expand(frame)
        check_frame(frame)
        self.frames.append(frame)
        return frame

    async def send_raw(self, frame: Any) -> None:
        """Send a text frame that need not be a command."""
        text = frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)
        await self.connection.send(text)

    async def refusal_code(self, kind: str, **fields: Any) -> str:
        """Send a command, assert that it is refused, and return the code."""
        answer = await self.command(kind, **fields)
        assert answer["type"] == "command.refused", answer
        return str(answer["code"])

    async def join(self, room: str, after: int | None = None, **live: list[int]) -> Frame:
        """Join the room and record the id of the persona of each model."""
        snapshot = await super().join(room, after, **live)
        if snapshot.get("state"):
            self.personas = {p["handle"]: p["id"] for p in snapshot["state"]["personas"]}
        return snapshot

    async def send(self, room: str, text: str, **fields: Any) -> Frame:
        """Post a message, assert that it is accepted, and return the result.

        No persona answers unless `personas` names one.
        """
        answer = await self.say(room, text, **{"personas": [], **fields})
        assert answer["type"] == "command.done", answer
        result: Frame = answer["result"]
        return result

    async def ask(self, room: str, model: str, text: str = "Well?") -> str:
        """Post a message to the persona of that model; return the id of the run."""
        asked = await self.send(room, text, personas=[self.personas[model]])
        run: str = asked["runs"][0]
        return run

    @asynccontextmanager
    async def asking(self, room: str, model: str) -> AsyncIterator[str]:
        """Start an answer, and cancel its run at the end."""
        run = await self.ask(room, model)
        try:
            yield run
        finally:
            await self.command("run.cancel", run=run)

    async def find(self, wanted: Callable[[Frame], bool], seconds: float = DEADLINE) -> Frame:
        """Return the first frame for which `wanted` is true, received already or not."""
        for frame in self.frames:
            if wanted(frame):
                return frame
        return await self.until(wanted, seconds)

    async def event(self, kind: str, run: str | None = None, **values: Any) -> Frame:
        """Return the first event of that type and run with these values."""
        return await self.find(
            lambda frame: (
                frame["type"] == kind
                and (run is None or run_of(frame) == run)
                and values.items() <= frame.items()
            )
        )

    async def ended(self, run: str) -> Frame:
        """Return the event that ends the run."""
        return await self.find(lambda frame: frame["type"] in ENDS and run_of(frame) == run)

    def of_run(self, run: str) -> list[Frame]:
        """Return the received frames of a run and its answer, in order."""
        return [frame for frame in self.frames if run_of(frame) == run]

    def of_room(self, room: str) -> list[Frame]:
        """Return the received frames of a room, in order."""
        return [frame for frame in self.frames if frame.get("room") == room]


def run_of(frame: Frame) -> str | None:
    """Return the id of the run of an event, or of the run whose answer the event changes."""
    if isinstance(frame.get("message"), dict):
        return str(frame["message"]["run"])
    run = frame.get("run")
    return run["id"] if isinstance(run, dict) else run


def streamed(frames: list[Frame]) -> str:
    """Return the joined text of the deltas among these frames."""
    return "".join(frame["text"] for frame in frames if frame["type"] == "message.delta")


class Server:
    """An installation, the provider of its personas, and the log of deliveries."""

    def __init__(self, installation: Installation, provider: Provider, printed: str = "") -> None:
        self.installation = installation
        self.provider = provider
        self.printed = printed
        self.deliveries = DeliveryLog()

    def populate(self, rooms: int, members: int, *models: str) -> list[PopulatedRoom]:
        """Create a team with rooms, each with one persona for each model."""
        options = [word for model in models for word in ("--model", model)]
        if options:
            options = ["--provider", self.provider.base_url, *options]
        created = self.installation.populate(rooms, members, *options)
        for room in created:
            self.deliveries.members[room.id] = {person.token for person in room.members}
        return created

    def create_token(self, person: Person, **fields: Any) -> tuple[str, str]:
        """Create another token of the user; return its id and the token."""
        created = self.request("POST", "/me/tokens", person, {"name": "another", **fields})
        assert created.status == 201, created.raw
        self.deliveries.owners[created.body["token"]] = person.token
        return created.body["id"], created.body["token"]

    def allow(self, room: PopulatedRoom, person: Person) -> None:
        """Record that this user may receive events of the room from now on."""
        self.deliveries.members[room.id].add(person.token)

    def request(
        self, method: str, path: str, person: Person | str | None = None, body: Any = None
    ) -> Response:
        """Send a REST request with the token of this user, or with this token."""
        token = person.token if isinstance(person, Person) else person
        url = f"{self.installation.url}/api/v1{path}"
        request = urllib.request.Request(url, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as raw:
                response = Response(raw.status, raw.read(), dict(raw.headers))
        except urllib.error.HTTPError as error:
            with error:
                response = Response(error.code, error.read(), dict(error.headers))
        self.deliveries.record(token, response.raw)
        contract().check(method, f"/api/v1{path}", response.status, response.headers, response.raw)
        return response

    @asynccontextmanager
    async def client(
        self, person: Person | str, subprotocols: Sequence[Subprotocol] = (MARU_V1,)
    ) -> AsyncIterator[WireClient]:
        """Connect to the WebSocket with a bearer token."""
        token = person.token if isinstance(person, Person) else person
        async with connect(
            f"ws://127.0.0.1:{self.installation.port}/ws/",
            additional_headers={"Authorization": f"Bearer {token}"},
            subprotocols=subprotocols,
            **CLIENT_OPTIONS,
        ) as connection:
            yield WireClient(connection, self.deliveries, token)


def new_client_id() -> str:
    """Return a new `client_id` for a message."""
    return str(uuid4())
