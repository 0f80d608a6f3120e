"""One server for all tests of the wire, and new rooms for each module."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.live import Installation, Person, PopulatedRoom
from tests.provider import Provider, running
from tests.wire.server import Server

# Fewer than the default, so that a test can occupy all of them and queue runs.
SLOTS = 12
MODULES = 23
ROOMS = 5
MODELS = (
    "echo",
    "canary",
    "tokens-60@200",
    "tokens-6000@50",
    "held-12@15",
    "fault-hang",
    "fault-hang-after-3",
    "fault-401",
    "fault-garbage",
    "fault-truncated",
    "fault-reset-after-4",
    "fault-empty",
    "tools",
)


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with running() as started:
        yield started


@pytest.fixture(scope="session")
def server(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that was set up by `bootstrap` and whose personas use the stub provider."""
    folder = tmp_path_factory.mktemp("server")
    with Installation(
        folder, MARU_EGRESS_ALLOW=provider.address, MARU_RUN_CONCURRENCY=str(SLOTS)
    ) as installation:
        yield Server(installation, provider, bootstrap(installation, folder))


def bootstrap(installation: Installation, folder: Path) -> str:
    """Set up an empty installation; return the output of the command."""
    (folder / "password").write_text("ondol-warms-the-floor\n")
    who = ("--email", "haneul@example.com", "--team", "한결")
    how = ("--password-file", str(folder / "password"), "--print-token")
    return installation.manage("bootstrap", *who, *how)


@pytest.fixture(scope="session")
def team_rooms(server: Server) -> list[PopulatedRoom]:
    """All rooms of one team; the first member of the first room owns the team."""
    return server.populate(MODULES * ROOMS, 4, *MODELS)


@pytest.fixture(scope="session")
def unused_rooms(team_rooms: list[PopulatedRoom]) -> Iterator[PopulatedRoom]:
    """The rooms that no module has used yet."""
    return iter(team_rooms[1:])


@pytest.fixture(scope="module")
def rooms(server: Server, unused_rooms: Iterator[PopulatedRoom]) -> Iterator[list[PopulatedRoom]]:
    """New rooms for this module. At its end no token may have received the id of a foreign room."""
    yield list(islice(unused_rooms, ROOMS))
    assert server.deliveries.leaks() == []


@pytest.fixture
def room(rooms: list[PopulatedRoom]) -> PopulatedRoom:
    return rooms[0]


@pytest.fixture
def owner(room: PopulatedRoom) -> Person:
    return room.members[0]


@pytest.fixture
def member(room: PopulatedRoom) -> Person:
    return room.members[1]


@pytest.fixture
def stranger(rooms: list[PopulatedRoom]) -> Person:
    """A user of the same team who is a member of another room."""
    return rooms[1].members[1]


@pytest.fixture(scope="session")
def foreign(server: Server) -> PopulatedRoom:
    """A room of another team."""
    return server.populate(1, 2)[0]
