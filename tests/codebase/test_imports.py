"""Import contracts: the tree keeps each of them, and a forbidden import breaks it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live import ROOT

PACKAGES = ("accounts", "agents", "rooms", "platform")
ONE_WAY = "Imports point one way"
GUARDIAN = "Only accounts.roles knows guardian"
CREWAI = "Only the engine knows CrewAI"
ENGINE = "No web process reaches the engine"
SDK = "Only the client knows the MCP SDK"
ROOMS = "Layers of rooms"
AGENTS = "Layers of agents"
ACCOUNTS = "Layers of accounts"
CONTRACTS = (ONE_WAY, ROOMS, AGENTS, ACCOUNTS, GUARDIAN, CREWAI, SDK, ENGINE)


@dataclass(frozen=True)
class Linted:
    """Exit status and output of lint-imports."""

    status: int
    output: str

    def broken(self) -> set[str]:
        assert all(
            f"{name} KEPT" in self.output or f"{name} BROKEN" in self.output for name in CONTRACTS
        ), self.output
        return {name for name in CONTRACTS if f"{name} BROKEN" in self.output}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project's code, which the test changes."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = shutil.ignore_patterns("__pycache__", "locale")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=code)
    return tmp_path


def lint(tree: Path) -> Linted:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    path = f"{tree}{os.pathsep}{tree / 'platform'}"
    env = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    return Linted(done.returncode, done.stdout + done.stderr)


def test_tree_keeps_every_contract(tree: Path) -> None:
    linted = lint(tree)

    assert (linted.status, linted.broken()) == (0, set())


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("accounts/models.py", "import agents.models", {ONE_WAY}),
        ("agents/models/personas.py", "import rooms.models", {ONE_WAY}),
        ("rooms/models/rooms.py", "import maru.settings", {ONE_WAY}),
        ("rooms/queries.py", "import rooms.services.messages", {ROOMS}),
        ("rooms/runs/lifecycle.py", "from rooms import queries", {ROOMS}),
        ("rooms/fanout/hub.py", "import rooms.event_log", {ROOMS}),
        ("rooms/protocol/events.py", "def later():\n    import rooms.runs.queue", {ROOMS}),
        ("rooms/api/rooms.py", "import rooms.pages.sidebar", {ROOMS}),
        ("rooms/unlisted.py", "", {ROOMS}),
        ("agents/egress/guard.py", "import agents.services.personas", {AGENTS}),
        ("agents/hooks.py", "import agents.permissions", {AGENTS}),
        ("accounts/permissions.py", "import accounts.login.adapters", {ACCOUNTS}),
        (
            "accounts/scopes.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import accounts.models",
            {ACCOUNTS},
        ),
        ("rooms/permissions.py", "from guardian.shortcuts import assign_perm", {GUARDIAN}),
        ("accounts/services/teams.py", "import guardian", {GUARDIAN}),
        ("rooms/runs/runner.py", "import crewai", {CREWAI}),
        (
            "platform/maru/server/answer_worker.py",
            "from crewai.events import base_events",
            {CREWAI},
        ),
        ("rooms/socket/consumer.py", "from agents import engine", {ENGINE}),
        ("rooms/services/rooms.py", "def later():\n    import rooms.runs.runner", {ENGINE}),
        ("agents/services/personas.py", "import agents.engine.demo", {AGENTS, ENGINE}),
        ("platform/maru/server/asgi.py", "import maru.server.answer_worker", {ENGINE}),
        ("agents/models/personas.py", "import crewai", {CREWAI, ENGINE}),
        ("agents/mcp/child.py", "import mcp", {SDK, ENGINE}),
        ("agents/services/mcp_servers.py", "import agents.mcp.sessions", {ENGINE}),
        ("agents/engine/toolbox.py", "from mcp import types", {SDK}),
    ],
)
def test_forbidden_import_is_found(tree: Path, module: str, line: str, broken: set[str]) -> None:
    with (tree / module).open("a") as file:
        file.write(f"\n\n{line}\n")

    linted = lint(tree)

    assert (linted.status, linted.broken()) == (1, broken), linted.output


def test_server_process_reaches_the_engine(tree: Path) -> None:
    """Control: the contract is not kept merely because the engine is unreachable."""
    pyproject = tree / "pyproject.toml"
    text = pyproject.read_text()
    assert text.count('"maru.server.asgi", ') == 1

    pyproject.write_text(text.replace('"maru.server.asgi", ', '"maru.server.process", '))

    assert lint(tree).broken() == {ENGINE}
