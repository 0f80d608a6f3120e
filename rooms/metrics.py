"""The Prometheus metrics that `/metrics` exports."""

from typing import Final

from prometheus_client import Counter, Gauge

SOCKETS: Final = Gauge("maru_sockets", "Open WebSockets and event streams of this process")
COMMANDS: Final = Counter("maru_commands", "Commands received on WebSockets", ["type", "outcome"])
RUNS_ENDED: Final = Counter("maru_runs_ended", "Runs that this worker has ended", ["outcome"])
RUNS_OPEN: Final = Gauge("maru_runs_open", "Runs that this worker is answering")
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
for _reason in DEGRADED_REASONS:
    DEGRADED.labels(_reason).set(0)
