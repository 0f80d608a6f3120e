"""Steering lines and questions to people, while workers are killed and answers end."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE
from tests.live import until
from tests.provider import Provider
from tests.provider.server import Request

RACES = 24


class Asked:
    """A room with a persona that follows a script, and one that waits after its first token."""

    def __init__(self, cluster: Cluster, provider: Provider) -> None:
        self._cluster, self._provider = cluster, provider
        provider.clear()
        options = ("--provider", provider.base_url, "--model", "tools", "--model", "held-1")
        (self._room,) = cluster.populate(1, 1, *options)
        listed = self.get(f"/teams/{self._room.team}/personas")["items"]
        self.personas = {each["handle"]: each["id"] for each in listed}

    def allow(self, name: str) -> None:
        """Let the persona that follows a script use a tool."""
        tools = self.get(f"/teams/{self._room.team}/tools")["items"]
        (tool,) = [each["id"] for each in tools if each["name"] == name]
        body = {"tools": [{"tool": tool, "policy": "always"}]}
        assert self.send("PUT", f"/personas/{self.personas['tools']}/tools", body)[0] == 200

    def ask(self, text: str, handle: str = "tools") -> str:
        body = {"text": text, "personas": [self.personas[handle]]}
        sent = self.send("POST", f"/rooms/{self._room.id}/messages", body)[1]
        run: str = sent["runs"][0]
        return run

    def steer(self, run: str, text: str) -> int:
        """Steer a run; return the status of the response."""
        return self.send("POST", f"/runs/{run}/steer", {"text": text})[0]

    def get(self, path: str) -> Any:
        status, body = self.send("GET", path)
        assert status == 200, body
        return body

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self._cluster.webs[0].request(method, path, self._room.members[0].token, body)

    def answer_of(self, run: str) -> Any:
        """Return the answer of a run when the run has completed."""
        until(lambda: self.get(f"/runs/{run}")["state"] == "completed", DEADLINE)
        return self.get(f"/messages/{self.get(f'/runs/{run}')['answer']}")

    def requests(self) -> list[Request]:
        return list(self._provider.requests)

    def wait_for_requests(self, count: int) -> None:
        """Return when the provider has got `count` requests in all."""
        until(lambda: len(self.requests()) >= count, DEADLINE)

    def release_until_ended(self, run: str) -> bool:
        """Let waiting answers go on; return True if the run has completed."""
        self._provider.release()
        return bool(self.get(f"/runs/{run}")["state"] == "completed")

    def clear(self) -> None:
        self._provider.clear()

    def kill_workers(self) -> None:
        for worker in self._cluster.workers:
            worker.stop(signal.SIGKILL)

    def start_workers(self) -> None:
        for worker in self._cluster.workers:
            worker.start()
        self._cluster.wait_for_workers()


@pytest.fixture
def asked(cluster: Cluster, provider: Provider) -> Asked:
    return Asked(cluster, provider)


def test_accepted_line_of_a_killed_worker_is_applied_once(asked: Asked) -> None:
    run = asked.ask("TEXT one\nHOLD\nTEXT two")
    asked.wait_for_requests(1)
    assert asked.steer(run, "TEXT three") == 202

    asked.kill_workers()
    asked.start_workers()
    answer = asked.answer_of(run)

    assert answer["text"] == "three"
    assert [line["state"] for line in answer["steered"]] == ["applied"]
    _lost, last = asked.requests()
    assert last.prompt.count("TEXT three") == 1


def test_applied_line_stays_in_the_conversation_when_the_worker_is_killed(
    asked: Asked, provider: Provider
) -> None:
    run = asked.ask("TEXT one\nHOLD\nTEXT two")
    asked.wait_for_requests(1)
    assert asked.steer(run, "TEXT three\nHOLD\nTEXT four") == 202
    provider.release()
    asked.wait_for_requests(2)

    asked.kill_workers()
    asked.start_workers()
    asked.wait_for_requests(3)
    provider.release()
    answer = asked.answer_of(run)

    assert answer["text"] == "one two \n\nthree four"
    assert [line["state"] for line in answer["steered"]] == ["applied"]
    _first, second, third = asked.requests()
    assert second.messages == third.messages
    assert third.prompt.count("TEXT three") == 1


def test_question_outlives_the_worker(asked: Asked) -> None:
    asked.allow("ask_people")
    run = asked.ask(f"USE ask_people {json.dumps({'question': 'Which day?'})}")
    until(lambda: asked.get("/questions")["items"], DEADLINE)

    asked.kill_workers()
    (item,) = asked.get("/questions")["items"]
    path = f"/questions/{item['id']}/answer"
    assert asked.send("POST", path, {"text": "Friday"})[0] == 200
    asked.start_workers()
    answer = asked.answer_of(run)

    assert '"answer": "Friday"' in answer["text"]
    assert [step["state"] for step in answer["steps"]] == ["done"]
    of_run = [each for each in asked.requests() if "Which day?" in each.prompt]
    assert len(of_run) == 2


def test_line_in_the_moment_of_the_end_is_applied_or_refused(
    asked: Asked, provider: Provider
) -> None:
    """No line is accepted and then left: the answer goes on, or the line is refused.

    The answer ends a little earlier after each line that was applied, and later after the others.
    """
    statuses: set[int] = set()
    seconds = 0.05
    with ThreadPoolExecutor(1) as other:
        for _ in range(RACES):
            asked.clear()
            run = asked.ask("Well?", "held-1")
            asked.wait_for_requests(1)
            steered = other.submit(asked.steer, run, "a little more")
            time.sleep(seconds)
            provider.release()
            status = steered.result()
            until(lambda run=run: asked.release_until_ended(run), DEADLINE)  # type: ignore[misc]

            was_applied = status == 202
            lines = asked.answer_of(run).get("steered", [])
            assert [line["state"] for line in lines] == ["applied"] * was_applied
            assert ["a little more" in each.prompt for each in asked.requests()] == (
                [False, True] if was_applied else [False]
            )
            statuses.add(status)
            seconds = seconds * 0.6 if was_applied else seconds * 1.4 + 0.004

    assert statuses == {202, 409}
