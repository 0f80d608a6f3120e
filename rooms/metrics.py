"""What is counted, for whoever watches the process; `/metrics` shows it."""

from typing import Final

from prometheus_client import Counter, Gauge

SOCKETS: Final = Gauge("maru_sockets", "Sockets and event streams open in this process")
COMMANDS: Final = Counter("maru_commands", "Commands of sockets", ["type", "outcome"])
RUNS_ENDED: Final = Counter("maru_runs_ended", "Runs that this process has ended", ["outcome"])
RUNS_OPEN: Final = Gauge("maru_runs_open", "Runs that this process is answering")
HEALED: Final = Counter("maru_healed", "Holes that the layer left and the store filled", ["kind"])
