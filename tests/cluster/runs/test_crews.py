"""Personas that answer in turn, and a persona that asks others, while their worker is killed."""

import json
import signal
from typing import Any

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE
from tests.live import until
from tests.provider import Provider

HELD = ("held-2", "held-3")
"""Models that answer with a few tokens, and after the release with as many more."""
TEXTS = ("t0 t1 t2 t3", "t0 t1 t2 t3 t4 t5")
QUESTIONS = [json.dumps({"persona": f"@{model}", "question": "Why?"}) for model in HELD]
SCRIPT = f"""
TEXT Let me ask.
USE {" & ".join(f"ask_persona {question}" for question in QUESTIONS)}
TEXT So
HOLD
TEXT be it.
"""


class Crew:
    """A room with two personas that wait for a release, and one that follows a script."""

    def __init__(self, cluster: Cluster, provider: Provider) -> None:
        self._cluster, self._provider = cluster, provider
        provider.clear()
        models = [word for model in (*HELD, "tools") for word in ("--model", model)]
        (self._room,) = cluster.populate(1, 1, "--provider", provider.base_url, *models)
        listed = self.get(f"/teams/{self._room.team}/personas")["items"]
        self.personas = {each["handle"]: each["id"] for each in listed}

    def get(self, path: str) -> Any:
        return self._request("GET", path)

    def say(self, text: str, **fields: Any) -> str:
        sent = self._request("POST", f"/rooms/{self._room.id}/messages", {"text": text, **fields})
        message: str = sent["message"]["id"]
        return message

    def answers(self) -> list[tuple[str, str, str]]:
        """Return the handle, the text and the status of each answer, oldest first."""
        items = self.get(f"/rooms/{self._room.id}/messages?thread=all&limit=100")["items"]
        answers = [each for each in items[::-1] if each["author"]["kind"] == "persona"]
        return [(each["author"]["handle"], each["text"], each["status"]) for each in answers]

    def kill_worker_during(self, *models: str) -> None:
        """Kill the workers while the provider answers these models, and start them again.

        Return when the provider answers the models again; then its answers go on.
        """
        until(lambda: self._answering() == sorted(models), 2 * DEADLINE)
        for worker in self._cluster.workers:
            worker.stop(signal.SIGKILL)
        until(lambda: self._answering() == [], DEADLINE)
        for worker in self._cluster.workers:
            worker.start()
        self._cluster.wait_for_workers()
        until(lambda: self._answering() == sorted(models), 2 * DEADLINE)
        self._provider.release()

    def requests(self, model: str) -> int:
        return sum(each.model == model for each in self._provider.requests)

    def _answering(self) -> list[str]:
        answering = (
            each.model
            for each in self._provider.requests
            if not each.ended and each.client_left_at is None
        )
        return sorted(answering)

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        token = self._room.members[0].token
        status, answer = self._cluster.webs[0].request(method, path, token, body)
        assert status < 300, answer
        return answer


@pytest.fixture
def crew(cluster: Cluster, provider: Provider) -> Crew:
    return Crew(cluster, provider)


def test_round_goes_on_although_its_worker_is_killed_in_each_step(crew: Crew) -> None:
    order = [crew.personas[handle] for handle in HELD[::-1]]
    message = crew.say("hello", personas=order, in_turn=True)

    for model in HELD[::-1]:
        crew.kill_worker_during(model)
    until(lambda: crew.get(f"/messages/{message}")["round"]["state"] != "running", DEADLINE)

    round_ = crew.get(f"/messages/{message}")["round"]
    assert [step["state"] for step in round_["steps"]] == ["completed", "completed"]
    assert crew.answers() == [
        (handle, text, "complete") for handle, text in zip(HELD[::-1], TEXTS[::-1], strict=True)
    ]
    assert [crew.requests(model) for model in HELD] == [2, 2]


def test_tree_goes_on_although_its_worker_is_killed_in_each_part(crew: Crew) -> None:
    crew.say(SCRIPT, led_by=crew.personas["tools"])

    crew.kill_worker_during(*HELD)
    crew.kill_worker_during("tools")
    until(lambda: len([s for _h, _t, s in crew.answers() if s == "complete"]) == 3, DEADLINE)

    assert sorted(crew.answers()) == [
        ("held-2", TEXTS[0], "complete"),
        ("held-3", TEXTS[1], "complete"),
        ("tools", "Let me ask. \n\nSo be it.", "complete"),
    ]
    assert [crew.requests(model) for model in (*HELD, "tools")] == [2, 2, 3]
