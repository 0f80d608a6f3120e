"""Health checks and metrics: their content, and the clients that may read them."""

from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from rooms.models import Worker
from rooms.runs import workers
from tests.live import free_port


def test_healthz_needs_no_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_needs_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/readyz").json() == {"status": "ok"}

    def away() -> None:
        raise DatabaseError("CANARY: no route to host db.internal")

    with monkeypatch.context() as patch:  # the check after each test needs the database
        patch.setattr("maru.web.health.connection.cursor", away)
        response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reasons": ["database"]}


@pytest.mark.django_db
def test_production_is_ready_while_a_worker_is_alive(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDED = False
    monkeypatch.setattr("maru.web.health._layer", list)

    def reasons() -> list[str]:
        found: list[str] = client.get("/readyz").json().get("reasons", [])
        return found

    assert reasons() == ["worker"]
    workers.report("worker-1", concurrency=25, running=0)
    assert reasons() == []
    Worker.objects.update(seen_at=timezone.now() - workers.ALIVE_WITHIN - timedelta(seconds=1))
    assert reasons() == ["worker"]
    workers.report("worker-1", concurrency=25, running=3)
    assert reasons() == []
    workers.remove("worker-1")
    assert reasons() == ["worker"]


@pytest.mark.django_db
def test_unreachable_layer_is_reported(client: Client, settings: Settings) -> None:
    workers.report("worker-1", concurrency=25, running=0)
    settings.EMBEDDED, settings.REDIS_URL = False, f"redis://127.0.0.1:{free_port()}/0"

    response = client.get("/readyz")

    assert (response.status_code, response.json()["reasons"]) == (503, ["layer"])


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
