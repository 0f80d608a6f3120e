"""alerts.yml: every alarm fires at its fault, is quiet without it, and is explained in RUNBOOK.md.

promtool evaluates the rules. tests/wire/test_metrics.py and tests/cluster show that the metrics
move when the fault happens in real processes.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.runbook import RUNBOOK
from tests.live import ROOT

RULES = ROOT / "deploy" / "alerts.yml"
SECONDS_PER_SAMPLE = 15
MINUTES = 45

Series = dict[str, str]
"""Values by series, in the notation of promtool: `0+5x40` starts at 0 and adds 5, 40 times."""

# For each alarm: series of its fault, and similar series of an installation without it. All faults
# are evaluated together, and so are all other series: a TSDB for each alarm would take ten seconds.
CASES: dict[str, tuple[Series, Series]] = {
    "MaruProcessDown": (
        {'up{job="maru",instance="a"}': "0x200"},
        {'up{job="maru",instance="a"}': "1x200", 'up{job="other"}': "0x200"},
    ),
    "MaruProcessRestarts": (
        {'process_start_time_seconds{job="maru"}': "1+60x200"},
        {'process_start_time_seconds{job="maru"}': "1x100 2x100"},
    ),
    "MaruVersionsDiffer": (
        {
            'maru_build_info{job="maru",version="1",revision="a",instance="a"}': "1x200",
            'maru_build_info{job="maru",version="1",revision="b",instance="b"}': "1x200",
        },
        {
            'maru_build_info{job="maru",version="1",revision="a",instance="a"}': "1x200",
            'maru_build_info{job="maru",version="1",revision="a",instance="b"}': "1x200",
        },
    ),
    "MaruDatabaseDown": ({"maru_database_up": "0x200"}, {"maru_database_up": "1x200"}),
    "MaruDatabasePoolExhausted": (
        {"maru_database_requests_waiting": "3x200"},
        {"maru_database_requests_waiting": "0 5 0x200"},
    ),
    "MaruDiskFull": (
        {'maru_degraded{reason="disk"}': "1x200"},
        {'maru_degraded{reason="disk"}': "0x200", 'maru_degraded{reason="layer"}': "1x200"},
    ),
    "MaruRedisDown": ({"maru_redis_up": "0x200"}, {"maru_redis_up": "1x200"}),
    "MaruRedisFull": (
        {"maru_redis_memory_bytes": "95x200", "maru_redis_memory_limit_bytes": "100x200"},
        {"maru_redis_memory_bytes": "95x200", "maru_redis_memory_limit_bytes": "0x200"},
    ),
    "MaruNoWorker": (
        {'maru_workers_alive{instance="a"}': "0x200", 'maru_workers_alive{instance="b"}': "0x200"},
        {'maru_workers_alive{instance="a"}': "1x200", 'maru_workers_alive{instance="b"}': "0x200"},
    ),
    "MaruQueueStalled": (
        {"maru_runs_queued_oldest_seconds": "0+15x200"},
        {"maru_runs_queued_oldest_seconds": "60x200"},
    ),
    "MaruWorkersFull": (
        {"maru_runs_open": "30x200", "maru_run_slots": "25x200", "maru_runs_queued": "9x200"},
        {"maru_runs_open": "30x200", "maru_run_slots": "25x200", "maru_runs_queued": "0x200"},
    ),
    "MaruAnswersFail": (
        {
            'maru_runs_ended_total{outcome="completed"}': "0+1x200",
            'maru_runs_ended_total{outcome="provider_unavailable"}': "0+1x200",
        },
        {
            'maru_runs_ended_total{outcome="completed"}': "0+9x200",
            'maru_runs_ended_total{outcome="provider_unavailable"}': "0+1x200",
            'maru_runs_ended_total{outcome="cancelled"}': "0+9x200",
        },
    ),
    "MaruProviderErrors": (
        {'maru_provider_errors_total{code="provider_refused"}': "0+2x200"},
        {
            'maru_provider_errors_total{code="provider_refused"}': "0x200",
            'maru_provider_errors_total{code="not_allowed"}': "0+9x200",
        },
    ),
    "MaruFirstTokenSlow": (
        {
            'maru_run_first_token_seconds_bucket{le="10"}': "0+1x200",
            'maru_run_first_token_seconds_bucket{le="60"}': "0+9x200",
            'maru_run_first_token_seconds_bucket{le="+Inf"}': "0+9x200",
        },
        {
            'maru_run_first_token_seconds_bucket{le="10"}': "0+9x200",
            'maru_run_first_token_seconds_bucket{le="60"}': "0+9x200",
            'maru_run_first_token_seconds_bucket{le="+Inf"}': "0+9x200",
        },
    ),
    "MaruCommandsFail": (
        {'maru_commands_total{type="message.send",outcome="unavailable"}': "0+3x200"},
        {'maru_commands_total{type="message.send",outcome="done"}': "0+30x200"},
    ),
    "MaruRequestsFail": (
        {
            'maru_http_requests_total{route="page",status="2xx"}': "0+5x200",
            'maru_http_requests_total{route="page",status="5xx"}': "0+5x200",
        },
        {
            'maru_http_requests_total{route="page",status="2xx"}': "0+5x200",
            'maru_http_requests_total{route="monitoring",status="5xx"}': "0+5x200",
        },
    ),
    "MaruRequestsSlow": (
        {
            'maru_http_request_seconds_bucket{route="api",le="1"}': "0+1x200",
            'maru_http_request_seconds_bucket{route="api",le="5"}': "0+9x200",
            'maru_http_request_seconds_bucket{route="api",le="+Inf"}': "0+9x200",
        },
        {
            'maru_http_request_seconds_bucket{route="stream",le="1"}': "0+1x200",
            'maru_http_request_seconds_bucket{route="stream",le="5"}': "0+9x200",
            'maru_http_request_seconds_bucket{route="stream",le="+Inf"}': "0+9x200",
        },
    ),
    "MaruDeliverySlow": (
        {
            'maru_delivery_seconds_bucket{le="0.5"}': "0+1x200",
            'maru_delivery_seconds_bucket{le="5"}': "0+9x200",
            'maru_delivery_seconds_bucket{le="+Inf"}': "0+9x200",
        },
        {
            'maru_delivery_seconds_bucket{le="0.5"}': "0+9x200",
            'maru_delivery_seconds_bucket{le="5"}': "0+9x200",
            'maru_delivery_seconds_bucket{le="+Inf"}': "0+9x200",
        },
    ),
    "MaruDeliveryGaps": (
        {'maru_healed_total{kind="log"}': "0+60x200"},
        {'maru_healed_total{kind="log"}': "0+1x200"},
    ),
    "MaruSocketsRefused": (
        {'maru_sockets_refused_total{reason="unavailable"}': "0+60x200"},
        {'maru_sockets_refused_total{reason="unauthenticated"}': "0+60x200"},
    ),
    "MaruSocketsDropped": (
        {'maru_sockets_closed_total{code="4408"}': "0+9x200"},
        {'maru_sockets_closed_total{code="1001"}': "0+90x200"},
    ),
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="not installed: promtool"
)


def rules(path: Path = RULES) -> list[dict[str, Any]]:
    """Return the alarms of the file."""
    (group,) = yaml.safe_load(path.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def names_in_rules() -> set[str]:
    """Return the names of the series that the rules read."""
    return {
        word
        for rule in rules()
        for word in re.findall(r"\b(?:maru|process)_\w+|\bup\b", rule["expr"])
    }


def evaluate(folder: Path, rule_file: Path) -> subprocess.CompletedProcess[str]:
    """Evaluate the cases with promtool: all faults fire every alarm, all other series fire none."""
    faults: Series = {}
    others: Series = {}
    for fault, other in CASES.values():
        faults |= fault
        others |= other
    fired = [{"labels": f'{{alertname="{alarm}"}}', "value": 1} for alarm in CASES]
    tests = [
        {
            "interval": f"{SECONDS_PER_SAMPLE}s",
            "input_series": [{"series": name, "values": value} for name, value in series.items()],
            "promql_expr_test": [
                {
                    "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{MINUTES}m",
                    "exp_samples": expected,
                }
            ],
        }
        for series, expected in ((faults, fired), (others, []))
    ]
    file = folder / "tests.yml"
    options = {"rule_files": [str(rule_file)], "evaluation_interval": "15s", "tests": tests}
    file.write_text(yaml.safe_dump(options))
    return subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )


def test_every_alarm_has_cases() -> None:
    assert [rule["alert"] for rule in rules()] == list(CASES)


@needs_promtool
def test_every_alarm_fires_at_its_fault_and_only_then(tmp_path: Path) -> None:
    tested = evaluate(tmp_path, RULES)

    assert tested.returncode == 0, tested.stdout + tested.stderr


@needs_promtool
@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("max(maru_workers_alive) == 0", "max(maru_workers) == 0"),
        ("maru_redis_up == 0", "maru_redis_up >= 0"),
        ("for: 1m", "for: 60m"),
    ],
)
def test_wrong_rule_is_found(tmp_path: Path, written: str, instead: str) -> None:
    text = RULES.read_text()
    assert written in text
    (tmp_path / "alerts.yml").write_text(text.replace(written, instead))

    assert evaluate(tmp_path, tmp_path / "alerts.yml").returncode == 1


def test_every_alarm_is_explained_in_the_runbook() -> None:
    rows = re.findall(r"^\| `(Maru\w+)` \| (\w+) \|", RUNBOOK.read_text(), re.MULTILINE)

    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]
