"""Counts Django's HTTP responses by class of route and class of status, and measures latency."""

import time
from typing import Any, Final

from prometheus_client import Counter, Histogram

from rooms.metrics import start_at_zero

MONITORING: Final = frozenset({"/healthz", "/readyz", "/metrics"})
ROUTES: Final = ("page", "api", "stream", "monitoring")

REQUESTS: Final = Counter("maru_http_requests", "HTTP responses of Django", ["route", "status"])
SECONDS: Final = Histogram(
    "maru_http_request_seconds",
    "Seconds from a request to the head of its response",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
start_at_zero(REQUESTS, ROUTES, ["2xx", "3xx", "4xx", "5xx"])
for _route in ROUTES:
    SECONDS.labels(_route)


class CountRequests:
    """ASGI middleware. Neither a path nor a host is a label, because clients choose them."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        route, started = route_class(scope["path"]), time.perf_counter()

        async def send_and_count(message: Any) -> None:
            if message["type"] == "http.response.start":
                REQUESTS.labels(route, f"{message['status'] // 100}xx").inc()
                SECONDS.labels(route).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, send_and_count)


def route_class(path: str) -> str:
    """Return the class of a path, one of ROUTES."""
    if path.startswith("/api/"):
        return "stream" if path.endswith("/stream") else "api"
    return "monitoring" if path in MONITORING else "page"
