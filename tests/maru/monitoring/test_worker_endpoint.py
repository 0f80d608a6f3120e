"""The endpoint of a worker, over HTTP: health, readiness, metrics, and what it refuses."""

import asyncio
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from pytest_django import Settings

from maru.monitoring import worker_endpoint
from rooms.runs.runner import Runner


@pytest.fixture
def runner() -> SimpleNamespace:
    return SimpleNamespace(is_serving=True)


@pytest.fixture
async def client(runner: SimpleNamespace) -> AsyncIterator[httpx.AsyncClient]:
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(worker_endpoint.serve(listener, cast("Runner", runner)))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as connected:
        yield connected
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    listener.close()


async def test_worker_is_ready_while_it_serves_the_queue(
    client: httpx.AsyncClient, runner: SimpleNamespace
) -> None:
    ready = await client.get("/readyz")
    runner.is_serving = False
    loading = await client.get("/readyz")
    alive = await client.get("/healthz")

    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})
    assert (loading.status_code, loading.json()) == (
        503,
        {"status": "unavailable", "reasons": ["runs"]},
    )
    assert alive.status_code == 200


@pytest.mark.parametrize(("allowed", "status"), [("127.0.0.0/8", 200), ("203.0.113.0/24", 404)])
async def test_metrics_are_served_to_allowed_networks_only(
    client: httpx.AsyncClient, settings: Settings, allowed: str, status: int
) -> None:
    from ipaddress import ip_network

    settings.METRICS_ALLOW = [ip_network(allowed)]

    answer = await client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})

    assert answer.status_code == status
    assert ("maru_run_slots" in answer.text) == (status == 200)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (("GET", "/"), 404),
        (("GET", "/admin/"), 404),
        (("GET", "/metrics/"), 404),
        (("POST", "/metrics"), 405),
        (("HEAD", "/healthz"), 200),
    ],
)
async def test_nothing_else_is_served(
    client: httpx.AsyncClient, request_line: Any, status: int
) -> None:
    answer = await client.request(*request_line)

    assert answer.status_code == status
    assert answer.headers["Cache-Control"] == "no-store"
