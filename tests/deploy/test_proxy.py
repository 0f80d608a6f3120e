"""Headers and requests that the proxy forwards, replaces or refuses."""

import re
import ssl
from collections.abc import Iterator

import httpx
import pytest
from django.conf import settings

from maru.server.process import PING_SECONDS
from tests.deploy.proxy import CONFIGURATION, NAME, Nginx, missing
from tests.deploy.upstream import FIRST_EVENT, STREAM, upstream
from tests.live import free_port, until

MIB = 1024 * 1024
AT_ONCE = 200
FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9",
}

pytestmark = pytest.mark.skipif(bool(missing()), reason="not installed: nginx")


@pytest.fixture(scope="module")
def proxy() -> Iterator[Nginx]:
    """A proxy with two web processes, one of which is down."""
    with upstream() as port, Nginx([free_port(), port]) as started:
        yield started


@pytest.fixture
def visitor(proxy: Nginx) -> Iterator[httpx.Client]:
    with proxy.client() as client:
        yield client


def forwarded_headers(visitor: httpx.Client, **headers: str) -> dict[str, str]:
    """Return the request headers that arrive at the web process."""
    received: dict[str, str] = visitor.get("/", headers=headers).json()["headers"]
    return received


def test_plain_http_is_sent_to_https(proxy: Nginx) -> None:
    address = f"http://127.0.0.1:{proxy.plain_port}/rooms/1/?a=b"

    answer = httpx.get(address, headers={"Host": "evil.example"}, trust_env=False)

    assert (answer.status_code, answer.headers["Location"]) == (308, f"{proxy.origin}/rooms/1/?a=b")


def test_tls_handshake_for_another_name_is_rejected(proxy: Nginx) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        proxy.tls("evil.example")


def test_request_for_another_host_is_not_served(visitor: httpx.Client) -> None:
    assert visitor.get("/", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_browsers_may_load_many_files_over_one_connection(
    proxy: Nginx, version: ssl.TLSVersion
) -> None:
    context = proxy.trusting()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])

    with proxy.tls(context=context) as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_client_address_host_and_scheme_are_forwarded(proxy: Nginx, visitor: httpx.Client) -> None:
    received = forwarded_headers(visitor)

    assert received["host"] == received["x-forwarded-host"] == f"{NAME}:{proxy.port}"
    assert (received["x-forwarded-for"], received["x-forwarded-proto"]) == ("127.0.0.1", "https")


def test_forwarded_headers_of_clients_are_replaced(proxy: Nginx, visitor: httpx.Client) -> None:
    received = forwarded_headers(visitor, **FORGED)

    assert {name: received.get(name.lower()) for name in FORGED} == {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": f"{NAME}:{proxy.port}",
        "X-Real-IP": None,
        "Forwarded": None,
    }


def test_only_websocket_upgrades_are_forwarded(visitor: httpx.Client) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}

    assert forwarded_headers(visitor, **upgrade)["connection"] == "upgrade"
    assert forwarded_headers(visitor, **{**upgrade, "Upgrade": "h2c"})["connection"] == "close"


def test_proxy_listens_on_ipv4_and_ipv6(proxy: Nginx) -> None:
    for address in ("127.0.0.1", "::1"):
        with proxy.tls(address=address) as connection:
            assert connection.version() is not None


def test_rate_of_new_sockets_per_address_is_limited(
    visitor: httpx.Client,
) -> None:
    statuses = [visitor.get("/ws/").status_code for _ in range(AT_ONCE)]
    while statuses[-1] == 200 and len(statuses) < 10 * AT_ONCE:
        statuses.append(visitor.get("/ws/").status_code)

    assert statuses[:AT_ONCE] == [200] * AT_ONCE
    assert statuses[-1] == 429
    assert visitor.get("/").status_code == 200


def test_metrics_are_not_forwarded(visitor: httpx.Client) -> None:
    assert visitor.get("/metrics").status_code == 404


def test_web_process_that_is_down_is_skipped(visitor: httpx.Client) -> None:
    statuses = [visitor.post("/", content=b"x").status_code for _ in range(6)]

    assert statuses == [200] * 6


def test_body_of_one_mebibyte_is_the_largest(visitor: httpx.Client) -> None:
    passed = visitor.post("/api/v1/me", content=b"x" * MIB)
    refused = visitor.post("/api/v1/me", content=b"x" * (MIB + 1))

    assert passed.json()["length"] == MIB == settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(("length", "status"), [(6_000, 200), (100_000, 400)])
def test_huge_headers_are_refused(visitor: httpx.Client, length: int, status: int) -> None:
    assert visitor.get("/", headers={"Cookie": "a" * length}).status_code == status


def test_event_stream_is_not_buffered(visitor: httpx.Client) -> None:
    with visitor.stream("GET", STREAM) as answer:
        assert next(answer.iter_raw()) == FIRST_EVENT


def test_api_clients_get_json_errors_without_a_web_process() -> None:
    with Nginx([free_port(), free_port()]) as proxy, proxy.client() as visitor:
        answers = [visitor.get("/api/v1/me"), visitor.get(STREAM), visitor.get("/")]

    assert [answer.status_code for answer in answers] == [503, 503, 502]
    assert [answer.json()["code"] for answer in answers[:2]] == ["unavailable", "unavailable"]


def test_log_of_the_proxy_contains_no_secret_paths(proxy: Nginx, visitor: httpx.Client) -> None:
    visitor.get("/setup/CANARY", headers={"Referer": f"{proxy.origin}/setup/CANARY"})
    visitor.post("/after/it")

    log = proxy.folder / "access.log"
    until(lambda: " POST 200 " in log.read_text())
    assert " GET 200 " in log.read_text()
    assert "CANARY" not in log.read_text()


def test_idle_socket_survives_between_two_pings() -> None:
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", CONFIGURATION.read_text())

    assert int(seconds) > 2 * PING_SECONDS
