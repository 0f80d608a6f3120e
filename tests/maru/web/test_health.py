"""Health checks and metrics: their content, and the clients that may read them."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.services import create_user
from rooms.models import Worker
from rooms.runs import workers
from tests.live import free_port


def test_healthz_needs_no_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_healthz_reads_no_session(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(create_user(name="Owner", email="owner@example.com", verified=True))

    with django_assert_num_queries(0):
        assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_readyz_needs_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/readyz").json() == {"status": "ok"}

    def away() -> None:
        raise DatabaseError("CANARY: no route to host db.internal")

    with monkeypatch.context() as patch:  # the check after each test needs the database
        patch.setattr("accounts.database.connection.cursor", away)
        response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reasons": ["database"]}


@pytest.mark.django_db
def test_production_without_a_live_worker_is_degraded(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDED = False
    monkeypatch.setattr("maru.web.health._has_layer", lambda: True)
    degraded = (200, {"status": "degraded", "reasons": ["worker"]})
    ready = (200, {"status": "ok"})

    def readiness() -> tuple[int, Any]:
        response = client.get("/readyz")
        return response.status_code, response.json()

    assert readiness() == degraded
    workers.report("worker-1", concurrency=25, running=0)
    assert readiness() == ready
    Worker.objects.update(seen_at=timezone.now() - workers.ALIVE_WITHIN - timedelta(seconds=1))
    assert readiness() == degraded
    workers.report("worker-1", concurrency=25, running=3)
    assert readiness() == ready
    workers.remove("worker-1")
    assert readiness() == degraded


@contextmanager
def silent_layer() -> Iterator[str]:
    """Yield the URL of a Redis that accepts connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@contextmanager
def no_layer() -> Iterator[str]:
    """Yield the URL of a Redis that does not run."""
    yield f"redis://127.0.0.1:{free_port()}/0"


@pytest.mark.django_db
@pytest.mark.parametrize("layer", [silent_layer, no_layer])
def test_process_with_a_slow_or_missing_layer_is_degraded(
    client: Client, settings: Settings, layer: Callable[[], AbstractContextManager[str]]
) -> None:
    workers.report("worker-1", concurrency=25, running=0)
    with layer() as url:
        settings.EMBEDDED, settings.REDIS_URL = False, url
        response = client.get("/readyz")

    assert (response.status_code, response.json()) == (
        200,
        {"status": "degraded", "reasons": ["layer"]},
    )


@pytest.mark.django_db
def test_missing_parts_are_a_metric(client: Client, settings: Settings) -> None:
    def degraded() -> dict[str, str]:
        client.get("/readyz")
        return dict(re.findall(r'maru_degraded{reason="(\w+)"} (\S+)', client.get("/metrics").text))

    assert degraded() == {"worker": "0.0", "layer": "0.0", "disk": "0.0"}
    with no_layer() as url:
        settings.EMBEDDED, settings.REDIS_URL = False, url
        assert degraded() == {"worker": "1.0", "layer": "1.0", "disk": "0.0"}
    settings.EMBEDDED = True
    assert degraded() == {"worker": "0.0", "layer": "0.0", "disk": "0.0"}


HOSTS = [
    "10.42.8.201:8000",
    "evil.example",
    "[fd00::1]:8000",
    "[::1",
    "a b",
    "",
    ":8000",
    "x" * 300,
    "\xe9.example",
    "a,b",
    "http://x/",
    "..",
]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_answered_for_every_host_header(
    client: Client, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    assert {host: client.get(path, HTTP_HOST=host).status_code for host in HOSTS} == dict.fromkeys(
        HOSTS, 200
    )
    assert caplog.records == []
    assert client.get("/accounts/login/", HTTP_HOST=HOSTS[0]).status_code == 400


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("203.0.113.9", 404),
        ("::ffff:203.0.113.9", 404),
        ("", 404),
    ],
)
def test_metrics_are_served_to_allowed_networks_only(
    client: Client, address: str, status: int
) -> None:
    response = client.get("/metrics", REMOTE_ADDR=address)

    assert response.status_code == status
    assert (b"process_resident_memory_bytes" in response.content) == (status == 200)


def test_metrics_are_hidden_behind_an_untrusted_proxy(client: Client, settings: Settings) -> None:
    settings.TRUSTED_PROXIES = ()
    headers = {"x-forwarded-for": "203.0.113.9"}

    assert client.get("/metrics", headers=headers).status_code == 404

    settings.TRUSTED_PROXIES = ("127.0.0.0/8",)  # uvicorn has put the client's address in place
    assert client.get("/metrics", headers=headers).status_code == 200
