"""Web processes and workers export what the alarms need, and it moves when a worker is away."""

import json
import re
import urllib.error
import urllib.request

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE
from tests.deploy.test_alerts import names_in_rules
from tests.live import PopulatedRoom, until
from tests.maru.server.starting import MANAGE, failed_start
from tests.scraping import increases, scrape


@pytest.fixture(scope="module")
def room(cluster: Cluster) -> PopulatedRoom:
    provider = f"http://{cluster.webs[0].env['MARU_EGRESS_ALLOW']}/v1"
    return cluster.populate(1, 1, "--provider", provider, "--model", "echo")[0]


def fetch(url: str) -> tuple[int, object]:
    """Return the status and the decoded body of a GET request."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_worker_serves_its_health_without_the_pages_of_django(cluster: Cluster) -> None:
    worker = cluster.workers[0]

    assert fetch(f"{worker.url}/healthz") == (200, {"status": "ok"})
    until(lambda: fetch(f"{worker.url}/readyz") == (200, {"status": "ok"}))
    assert fetch(f"{worker.url}/accounts/login/")[0] == 404


def test_every_metric_of_an_alarm_is_in_a_scrape_of_the_processes(cluster: Cluster) -> None:
    urls = [web.url for web in cluster.webs] + [worker.url for worker in cluster.workers]
    scrapes = [scrape(url) for url in urls]
    names = {name.partition("{")[0] for samples in scrapes for name in samples}

    assert names_in_rules() - names == {"up"}  # written by Prometheus
    for samples in scrapes:
        assert (samples["maru_database_up"], samples["maru_redis_up"]) == (1, 1)
        assert samples["maru_workers_alive"] == 1
        assert samples["maru_redis_memory_bytes"] > 0
        assert 0 < samples["maru_database_connections_used"] <= 20
        assert samples["maru_database_connections_limit"] == 20
    assert scrapes[-1]["maru_run_slots"] == 25


def test_stopped_worker_is_missed_and_queued_runs_age_until_its_return(
    cluster: Cluster, room: PopulatedRoom
) -> None:
    (web, *_), worker = cluster.webs, cluster.workers[0]
    owner = room.members[0]

    status = worker.stop()
    message = {"text": "Are you there?"}
    _, posted = web.request("POST", f"/rooms/{room.id}/messages", owner.token, message)
    until(lambda: scrape(web.url)["maru_runs_queued"] == 1)
    away = scrape(web.url)
    worker.start()
    run = f"/runs/{posted['runs'][0]}"
    until(lambda: web.request("GET", run, owner.token)[1]["state"] == "completed", 2 * DEADLINE)
    until(lambda: scrape(worker.url)["maru_run_seconds_count"] == 1)
    back = scrape(worker.url)
    logged = r"worker\.started|run\.claimed|run\.ended"
    steps = ["worker.started", "run.claimed", "run.ended"]
    until(lambda: re.findall(logged, worker.output)[-3:] == steps)

    assert status == 0
    assert "Traceback" not in worker.output
    assert (away["maru_workers_alive"], away["maru_runs_queued"]) == (0, 1)
    assert away["maru_runs_queued_oldest_seconds"] > 0
    moved = increases({}, back)
    assert moved['maru_runs_ended_total{outcome="completed"}'] == 1
    assert moved["maru_run_wait_seconds_sum"] >= away["maru_runs_queued_oldest_seconds"]
    assert moved["maru_run_first_token_seconds_sum"] > moved["maru_run_start_seconds_sum"]
    until(lambda: scrape(web.url)["maru_workers_alive"] == 1)


def test_taken_port_of_a_worker_is_named_in_one_sentence(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    folder = worker.folder / "second"
    folder.mkdir()

    sentence = failed_start(folder, MANAGE[0], "runagents", **_settings(worker.env)).sentence

    assert sentence == (
        f"CommandError: The worker cannot serve its metrics on 127.0.0.1:{worker.port}: "
        "Address already in use. Change MARU_METRICS_HOST or MARU_METRICS_PORT; each worker needs "
        "its own port."
    )


def _settings(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith("MARU_")}
