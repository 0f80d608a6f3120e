"""The paths of a message and of an answer, traced in real processes, are those in ARCHITECTURE.md.

A path is the list of our functions that are on the call stack at a hand-over, see `traced_process`.
Functions that return before the hand-over are no part of it: permission checks, rendering,
serializers.
"""

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.harness.cluster import Cluster, Worker, private_cluster
from tests.live import ROOT, Installation, PopulatedRoom, until
from tests.provider import Provider

Function = tuple[str, str]
"""A path from the root of the repository, and a qualified name."""
Record = dict[str, Any]

TRACED = ("-m", "tests.cluster.paths.traced_process")
ROUNDS = 4
"""Only functions that every round passes count, so that periodic tasks do not."""


class Traced:
    """A traced cluster of one web process and one worker, with one room."""

    def __init__(self, folder: Path, cluster: Cluster, room: PopulatedRoom) -> None:
        self._folder = folder
        self.web: Installation = cluster.webs[0]
        self.worker: Worker = cluster.workers[0]
        self.room = room

    def records(self, kind: str) -> list[Record]:
        """Return what the web process or the worker has recorded since the last call."""
        process = self.web.process if kind == "web" else self.worker.process
        assert process is not None
        done = self._folder / f"{kind}.done"
        done.unlink(missing_ok=True)
        os.kill(process.pid, signal.SIGUSR1)
        until(done.exists)
        found: list[Record] = json.loads((self._folder / f"{kind}.json").read_text())
        return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")

    class TracedWorker(Worker):
        entry = (*TRACED, "worker", str(folder / "worker.json"))

    class TracedWeb(Installation):
        entry = (*TRACED, "web", str(folder / "web.json"))

    with private_cluster(
        folder, provider.address, webs=1, web=TracedWeb, worker=TracedWorker
    ) as cluster:
        options = ("--provider", provider.base_url, "--model", "tokens-40@40")
        yield Traced(folder, cluster, cluster.populate(1, 2, *options)[0])


def path_of(
    rounds: list[list[Record]], first: str, last: str, is_part: Callable[[Record], bool]
) -> list[Function]:
    """Return the functions that are on a stack in each round, from `first` to `last`."""
    paths = []
    for records in rounds:
        steps: dict[Function, None] = {}
        for record in filter(is_part, records):
            stack: list[Function] = [(path, name) for path, name in record["stack"]]
            names = [name for _, name in stack]
            start = names.index(first) if first in names else 0
            end = names.index(last) + 1 if last in names else len(names)
            steps |= dict.fromkeys(stack[start:end])
        paths.append(steps)
    return [function for function in paths[0] if all(function in steps for steps in paths)]


def until_first_delta(records: list[Record]) -> list[Record]:
    """Return the records up to the one at which the first delta is published."""
    for index, record in enumerate(records):
        names = {name for _, name in record["stack"]}
        if {"Deltas.add", "Publisher.publish"} <= names:
            return records[: index + 1]
    raise AssertionError(records)


def documented(name: str) -> list[Function]:
    """Return the functions that ARCHITECTURE.md lists between the marks of a path."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    (block,) = re.findall(rf"<!-- path: {name} -->\n```\n(.*?)```\n<!-- end -->", text, re.DOTALL)
    return [
        (path, function)
        for line in block.splitlines()
        for path, _, functions in [line.partition(" ")]
        for function in functions.replace("→", " ").split()
    ]


def as_text(steps: list[Function]) -> str:
    """Return a path in the form of ARCHITECTURE.md."""
    lines: list[str] = []
    before = ""
    for path, function in steps:
        if path == before:
            lines[-1] += f" → {function}"
        else:
            lines.append(f"{path} {function}")
        before = path
    return "\n".join(lines)


async def test_path_of_a_message_is_short_and_documented(traced: Traced) -> None:
    author, reader = traced.room.members
    rounds = []

    async with traced.web.socket(author) as sender, traced.web.socket(reader) as receiver:
        await sender.join(traced.room.id)
        await receiver.join(traced.room.id)
        for _ in range(ROUNDS):
            await asyncio.to_thread(traced.records, "web")
            text = f"message {uuid4()}"
            await sender.say(traced.room.id, text, personas=[])
            while text not in json.dumps(await receiver.receive()):
                pass
            rounds.append(await asyncio.to_thread(traced.records, "web"))

    def is_part(record: Record) -> bool:
        """Return False for the response to the author."""
        return "command.done" not in record["data"]

    steps = path_of(rounds, first="RoomsConsumer.__call__", last="", is_part=is_part)
    assert set(steps) == set(documented("message")), as_text(steps)
    assert len(steps) <= 25, as_text(steps)
    assert len({path for path, _ in steps}) <= 12, as_text(steps)


async def test_path_of_an_answer_is_short_and_documented(traced: Traced) -> None:
    author = traced.room.members[0]
    rounds = []

    async with traced.web.socket(author) as socket:
        await socket.join(traced.room.id)
        for _ in range(ROUNDS):
            await asyncio.to_thread(traced.records, "worker")
            await socket.say(traced.room.id, "A question")
            await socket.until_type("run.completed")
            rounds.append(await asyncio.to_thread(traced.records, "worker"))

    def is_part(record: Record) -> bool:
        """Return True for stacks of the task of the runner and that of the engine."""
        return record["stack"][0][1] in {"Runner._answer", "_Answer.run"}

    rounds = [until_first_delta(records) for records in rounds]
    steps = path_of(rounds, first="Runner._answer", last="Publisher.publish", is_part=is_part)
    assert set(steps) == set(documented("answer")), as_text(steps)
    assert len(steps) <= 22, as_text(steps)  # with the connections to the provider and to Redis
