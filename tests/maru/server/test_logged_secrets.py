"""The log of a process: every line is JSON, and no line contains a secret of a request."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE
from tests.live import Installation

CANARY = "C4n4ry-Z3cr3t"
SECRET_PATHS = [
    f"/setup/{CANARY}",
    f"/invitations/{CANARY}/",
    f"/accounts/password/reset/key/1-{CANARY}/",
    f"/accounts/confirm-email/{CANARY}/",
    f"/accounts/login/?next=/invitations/{CANARY}/",
    f"/accounts/oidc/oidc/login/callback/?code={CANARY}&state={CANARY}",
    f"/api/v1/invitations/{CANARY}",
    f"/ws/?token={CANARY}",
    f"/static/{CANARY}.js",
]
PATHS = [
    *SECRET_PATHS,
    *(f"{path.partition('?')[0].rstrip('/')}/{CANARY}/more" for path in SECRET_PATHS),
    *(path.replace(CANARY, f"{CANARY}%FF%00%0a") for path in SECRET_PATHS),
    f"/{CANARY}",
    f"//{CANARY}",
]
HEADERS: list[dict[str, str]] = [
    {},
    {"Referer": f"http://127.0.0.1/setup/{CANARY}", "Cookie": f"maru_session={CANARY}"},
    {"Host": f"{CANARY}.example"},
    {"Authorization": f"Bearer {CANARY}", "X-Request-Id": CANARY, "Content-Type": "text/x"},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("logged")
    with Installation(folder, MARU_LOG_FORMAT="json", MARU_LOG_LEVEL="DEBUG") as running:
        yield running


def send_every_request(server: Installation) -> set[int]:
    """Send each path with each method and each set of headers; return the statuses."""
    statuses = set()
    for path in PATHS:
        for method, headers in [*(("GET", one) for one in HEADERS), ("POST", {}), ("PUT", {})]:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
            body = f'{{"{CANARY}": "{CANARY}"}}' if method != "GET" else None
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            statuses.add(response.status)
            assert response.headers["X-Request-Id"], path
            response.read()
            connection.close()
    return statuses


def break_database(server: Installation) -> None:
    """Replace the database by a folder, so that no connection can be opened."""
    data = server.folder / "var"
    for path in data.glob("maru.sqlite3*"):
        path.rename(path.with_name(f"away-{path.name}"))
    (data / "maru.sqlite3").mkdir()


def test_no_error_writes_a_secret_of_a_request_to_the_log(server: Installation) -> None:
    statuses = send_every_request(server)
    break_database(server)
    statuses_without_database = send_every_request(server)

    lines = [json.loads(line) for line in server.output.splitlines()]
    assert statuses >= {400, 401, 403, 404}
    assert 503 in statuses_without_database
    assert 500 not in statuses | statuses_without_database
    assert {"request.unavailable", "request.refused"} <= {line["event"] for line in lines}
    assert CANARY not in server.output
    assert "/setup/" not in server.output


def test_lines_about_a_request_have_its_id(server: Installation) -> None:
    away = [json.loads(line) for line in server.output.splitlines() if "unavailable" in line]

    assert away
    assert all(len(line["request"]) == 32 for line in away)


def test_production_prints_no_setup_link(tmp_path: Path) -> None:
    with Installation(tmp_path, MARU_LOG_FORMAT="json") as collected:
        link = collected.manage("setup_link")

    assert link.startswith("http://127.0.0.1:")
    assert "/setup/" in link
    assert "setup_link" in collected.output
    assert "/setup/" not in collected.output
