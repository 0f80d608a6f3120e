"""The Prometheus metrics of sockets, deliveries and runs.

A label has few values and never names a team, a room, a user or a host. Every series is created at
the start of the process (`start_at_zero`): `rate()` cannot see the first increment of a series
that did not exist before it.
"""

from collections.abc import Iterable
from itertools import product
from typing import Final, get_args

from prometheus_client import Counter, Gauge, Histogram

from agents.engine_types import FailureCode

CLOSE_CODES: Final = (1000, 1001, 1002, 1005, 1006, 1007, 1009, 1011, 1012, 4401, 4408, 4429)
"""Close codes with a series of their own (RFC 6455 §7.4.1, and Maru's own); others are `other`."""
_SECONDS_OF_ANSWERS: Final = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)

SOCKETS: Final = Gauge("maru_sockets", "Open WebSockets and event streams of this process")
SOCKETS_REFUSED: Final = Counter(
    "maru_sockets_refused", "WebSocket handshakes that this process refused", ["reason"]
)
SOCKETS_CLOSED: Final = Counter(
    "maru_sockets_closed",
    "Closed WebSockets and event streams, by WebSocket close code; 1005 is a client that went away",
    ["code"],
)
COMMANDS: Final = Counter("maru_commands", "Commands received on WebSockets", ["type", "outcome"])
DELIVERY_SECONDS: Final = Histogram(
    "maru_delivery_seconds",
    "Seconds from the publication of a frame, after its commit, to its delivery in this process",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HEALED: Final = Counter(
    "maru_healed", "Gaps in the delivery that were filled from the log or the delta store", ["kind"]
)
REFUSED: Final = Counter(
    "maru_requests_refused",
    "Connections and requests that the server refused or ended before the application",
    ["reason"],
)
DEGRADED_REASONS: Final = ("worker", "layer", "disk")
DEGRADED: Final = Gauge(
    "maru_degraded",
    "1 if this part was missing at the last request for /readyz",
    ["reason"],
)
RUNS_OPEN: Final = Gauge("maru_runs_open", "Runs that this worker is answering")
RUN_SLOTS: Final = Gauge("maru_run_slots", "Runs that this worker answers at once")
RUNS_ENDED: Final = Counter("maru_runs_ended", "Runs that this process has ended", ["outcome"])
RUN_WAIT_SECONDS: Final = Histogram(
    "maru_run_wait_seconds",
    "Seconds that a run was queued before its first claim",
    buckets=_SECONDS_OF_ANSWERS,
)
RUN_START_SECONDS: Final = Histogram(
    "maru_run_start_seconds",
    "Seconds from the claim of a run to its first text",
    buckets=_SECONDS_OF_ANSWERS,
)
RUN_FIRST_TOKEN_SECONDS: Final = Histogram(
    "maru_run_first_token_seconds",
    "Seconds from the question to the first text of its answer",
    buckets=_SECONDS_OF_ANSWERS,
)
RUN_SECONDS: Final = Histogram(
    "maru_run_seconds",
    "Seconds from the question to the end of its answer, completed or failed",
    buckets=_SECONDS_OF_ANSWERS,
)
DECISIONS: Final = Counter(
    "maru_decisions", "Approvals of tool calls that this process has ended", ["outcome"]
)
TOKENS: Final = Counter("maru_tokens", "Tokens that providers counted, by direction", ["direction"])


def start_at_zero(metric: Counter | Gauge, *values: Iterable[str]) -> None:
    """Create the series of every combination of label values; `values` has one set per label."""
    for combination in product(*values):
        metric.labels(*combination)


def socket_closed(code: int) -> None:
    """Count a closed connection. Clients choose their close codes, so unknown codes share one."""
    SOCKETS_CLOSED.labels(str(code) if code in CLOSE_CODES else "other").inc()


start_at_zero(SOCKETS_CLOSED, [*map(str, CLOSE_CODES), "other"])
start_at_zero(HEALED, ["log", "replay"])
start_at_zero(DEGRADED, DEGRADED_REASONS)
start_at_zero(RUNS_ENDED, ["completed", "cancelled", *get_args(FailureCode)])
start_at_zero(DECISIONS, ["allowed", "denied", "expired", "withdrawn"])
start_at_zero(TOKENS, ["input", "output"])
