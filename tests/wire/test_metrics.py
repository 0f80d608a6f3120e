"""The metrics of a server change with what its clients do, and name none of them."""

import re
import urllib.request

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.deadlines import DEADLINE
from tests.live import CLIENT_OPTIONS, MARU_V1, Person, PopulatedRoom, until
from tests.scraping import increases, scrape
from tests.wire.server import Server


@pytest.fixture
def url(server: Server) -> str:
    return server.installation.url


async def test_completed_answer_moves_latencies_tokens_and_deliveries(
    server: Server, url: str, room: PopulatedRoom, owner: Person
) -> None:
    before = scrape(url)

    async with server.client(owner) as socket:
        await socket.join(room.id)
        await socket.send(room.id, "Are you there?", personas=[socket.personas["echo"]])
        await socket.until_type("run.completed")
        during = increases(before, scrape(url))
    until(lambda: scrape(url)["maru_run_seconds_count"] > before["maru_run_seconds_count"])
    moved = increases(before, scrape(url))

    assert during["maru_sockets"] == 1
    for name in (
        'maru_runs_ended_total{outcome="completed"}',
        "maru_run_wait_seconds_count",
        "maru_run_start_seconds_count",
        "maru_run_first_token_seconds_count",
        "maru_run_seconds_count",
        'maru_commands_total{outcome="done",type="message.send"}',
    ):
        assert moved[name] == 1, name
    assert moved['maru_tokens_total{direction="output"}'] > 0
    assert moved['maru_tokens_total{direction="input"}'] > 0
    assert moved["maru_delivery_seconds_count"] > 4
    assert moved["maru_delivery_seconds_sum"] < DEADLINE


@pytest.mark.parametrize(
    ("model", "code"), [("fault-401", "provider_refused"), ("fault-truncated", "truncated")]
)
async def test_fault_of_a_provider_is_counted_by_its_code(
    server: Server, url: str, room: PopulatedRoom, owner: Person, model: str, code: str
) -> None:
    before = scrape(url)

    async with server.client(owner) as socket:
        await socket.join(room.id)
        await socket.send(room.id, "Are you there?", personas=[socket.personas[model]])
        await socket.until_type("run.failed")
    moved = increases(before, scrape(url))

    assert moved[f'maru_provider_errors_total{{code="{code}"}}'] >= 1
    assert moved[f'maru_runs_ended_total{{outcome="{code}"}}'] == 1
    assert 'maru_runs_ended_total{outcome="completed"}' not in moved


async def test_queued_run_is_counted_and_its_stop_is_an_end(
    server: Server, url: str, room: PopulatedRoom, owner: Person
) -> None:
    before = scrape(url)

    async with server.client(owner) as socket:
        await socket.join(room.id)
        sent = await socket.send(room.id, "Wait.", personas=[socket.personas["fault-hang"]])
        await socket.until_type("run.started")
        assert scrape(url)["maru_runs_open"] >= 1
        await socket.command("run.cancel", run=sent["runs"][0])
    moved = increases(before, scrape(url))

    assert moved['maru_runs_ended_total{outcome="cancelled"}'] == 1


async def test_refused_and_closed_sockets_are_counted(
    server: Server, url: str, owner: Person
) -> None:
    before = scrape(url)

    async with server.client(owner) as socket:
        await socket.received_so_far()
        await socket.connection.close(1001)
    async with server.client(owner) as socket:
        await socket.received_so_far()
        await socket.connection.close(4999)
    for token, subprotocol in (("maru_unknown", MARU_V1), (owner.token, Subprotocol("other"))):
        headers = {"Authorization": f"Bearer {token}"}
        with pytest.raises(InvalidStatus):
            await connect(
                f"{url.replace('http', 'ws')}/ws/",
                additional_headers=headers,
                subprotocols=[subprotocol],
                **CLIENT_OPTIONS,
            )
    until(
        lambda: increases(before, scrape(url)).get('maru_sockets_closed_total{code="other"}') == 1
    )
    moved = increases(before, scrape(url))

    assert moved['maru_sockets_closed_total{code="1001"}'] == 1
    assert moved['maru_sockets_refused_total{reason="unauthenticated"}'] == 1
    assert moved['maru_sockets_refused_total{reason="invalid"}'] == 1


def test_requests_are_counted_by_class_of_route_and_status(
    server: Server, url: str, owner: Person
) -> None:
    before = scrape(url)

    server.request("GET", "/me", owner)
    server.request("GET", "/me")
    urllib.request.urlopen(f"{url}/accounts/login/", timeout=DEADLINE).close()
    moved = increases(before, scrape(url))

    assert moved['maru_http_requests_total{route="api",status="2xx"}'] == 1
    assert moved['maru_http_requests_total{route="api",status="4xx"}'] == 1
    assert moved['maru_http_requests_total{route="page",status="2xx"}'] == 1
    assert moved['maru_http_request_seconds_count{route="api"}'] == 2


def test_scrape_describes_the_process_and_names_nobody(url: str, room: PopulatedRoom) -> None:
    samples = scrape(url)

    assert samples["maru_database_up"] == 1
    assert samples["maru_runs_queued_oldest_seconds"] >= 0
    assert any(name.startswith('maru_build_info{revision="') for name in samples)
    assert samples["process_resident_memory_bytes"] > 0
    assert len(samples) < 500
    ids = [name for name in samples if re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|127\.0\.0\.1", name)]
    assert ids == []
    assert not [name for name in samples if name.endswith("_created")]
