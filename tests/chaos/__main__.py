"""Run the parts of the fault injection at full size; print the results and write them to a file.

Each count is an option. Without `--only` all parts run, which takes about 30 minutes on an idle
machine. The exit status is 1 if there was any violation.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from tests.bench.report import machine
from tests.chaos import report
from tests.chaos.fanout import bad_clients, cut_connections, membership, reconnect_storm, removals
from tests.chaos.report import Part
from tests.chaos.runs import (
    isolation,
    large_team,
    lost_permissions,
    stops,
    tool_calls,
    worker_faults,
    worker_growth,
)
from tests.chaos.runs.claim_races import race_for_runs
from tests.chaos.stores import outages, web_crashes
from tests.chaos.target import Outcome, Target
from tests.cluster.harness import tools_environment
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.cluster.harness.resource_usage import MeasuredWorker
from tests.cluster.harness.services import Postgres, Redis, missing_packages
from tests.provider import running


@dataclass(frozen=True)
class Counts:
    """The number of repetitions of each kind; README.md lists the part of each."""

    races: int = 1_000
    deliveries: int = 1_000_000
    prompts: int = 10_000
    kills: int = 20
    full_kills: int = 4
    tool_prompts: int = 10_000
    tool_kills: int = 20
    frozen: int = 2
    stops: int = 1_000
    streams: int = 1_000
    outages: int = 1
    crashes: int = 10
    sockets: int = 1_000
    answers: int = 5_000
    cuts: int = 10_000
    removals: int = 1_000
    rounds: int = 3
    queued: int = 100_000
    members: int = 10_000


class Targets:
    """Creates the target of each part; consecutive parts with equal options share a cluster."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._provider = stack.enter_context(running())
        self._open = stack.enter_context(ExitStack())
        self._options: dict[str, Any] | None = None
        self._cluster: Cluster | None = None

    def target(self, size: int, **options: Any) -> Target:
        """Return a target with `size` rooms; `options` are keyword arguments of its Cluster."""
        self._provider.clear()
        if self._cluster is None or options != self._options:
            self.close()
            cluster = private_cluster(self.new_folder(), self._provider.address, **options)
            self._cluster, self._options = self._open.enter_context(cluster), options
        return Target(self._cluster, self._provider, size)

    def close(self) -> None:
        """Stop the cluster in any state; the next target gets a new one."""
        self._cluster = None
        self._open.close()

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))


Scenario = Callable[[Targets, Counts], Outcome]
TWO: Final[dict[str, Any]] = {"workers": 2}


def _claims(targets: Targets, counts: Counts) -> Outcome:
    """Race on separate stores, without workers that could claim the runs."""
    targets.close()
    with Postgres() as postgres, Redis() as redis:
        folder = targets.new_folder()
        return race_for_runs(folder, postgres, redis, races=counts.races, threads=4)


def _membership(targets: Targets, counts: Counts) -> Outcome:
    targets.close()
    return membership.check_deliveries(deliveries=counts.deliveries)


def _kills(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(20, **TWO)
    return asyncio.run(
        worker_faults.kill_workers(
            target, prompts=counts.prompts, kills=counts.kills, concurrency=60
        )
    )


def _tools(targets: Targets, counts: Counts) -> Outcome:
    targets.close()
    folder = targets.new_folder()
    options = {**TWO, **tools_environment(folder)}
    target = replace(targets.target(60, **options), models=tool_calls.MODELS)
    return asyncio.run(
        tool_calls.call_tools(
            target,
            folder,
            prompts=counts.tool_prompts,
            kills=counts.tool_kills,
        )
    )


def _full_kills(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(10, **TWO)
    return asyncio.run(worker_faults.kill_full_workers(target, kills=counts.full_kills, slots=25))


def _frozen(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(4, **TWO)
    return asyncio.run(worker_faults.freeze_workers(target, rounds=counts.frozen, runs=20))


def _stops(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(8, **TWO)
    return asyncio.run(stops.cancel_runs(target, stops=counts.stops, concurrency=20))


def _isolation(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(20, **TWO)
    return asyncio.run(
        isolation.stream_in_many_rooms(target, prompts=counts.streams, concurrency=50)
    )


def _postgres(targets: Targets, counts: Counts) -> Outcome:
    faults = [
        outages.restart_postgres(signal.SIGINT),
        outages.restart_postgres(signal.SIGQUIT),
        outages.end_connections(20),
    ]
    return _inject(targets, faults * counts.outages)


def _redis(targets: Targets, counts: Counts) -> Outcome:
    faults = [
        outages.kill_redis(3),
        outages.flush_redis,
        outages.pause_redis(10),
        outages.freeze_redis(20),
    ]
    return _inject(targets, faults * counts.outages)


def _inject(targets: Targets, faults: Sequence[outages.Fault]) -> Outcome:
    target = targets.target(8, **TWO)
    return asyncio.run(outages.inject_outages(target, faults, answers=20, pause=0.02))


def _crashes(targets: Targets, counts: Counts) -> Outcome:
    return asyncio.run(web_crashes.crash_webs(targets.target(4, **TWO), crashes=counts.crashes))


def _storm(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(1, **TWO)
    return asyncio.run(
        reconnect_storm.storm(target.cluster, target.provider, sockets=counts.sockets)
    )


def _permissions(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(4, **TWO, MARU_RUN_CONCURRENCY=str(lost_permissions.SLOTS))
    return asyncio.run(lost_permissions.revoke_permissions(target))


def _removals(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(1, **TWO)
    provider = target.provider.base_url
    return asyncio.run(
        removals.remove_members(
            target.cluster, provider, removals=counts.removals, other_members=50
        )
    )


def _growth(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(8, worker=MeasuredWorker)
    return asyncio.run(
        worker_growth.answer_many(target, warm_up=200, runs=counts.answers, concurrency=30)
    )


def _cuts(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(1, **cut_connections.LOSSY)
    faults = cut_connections.faults_of(target.cluster.redis)
    return asyncio.run(
        cut_connections.cut_connections(
            target.cluster, target.provider, cuts=counts.cuts, rooms=12, faults=faults
        )
    )


def _bad_clients(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(1, webs=1, workers=0, MARU_RATE_LIMITS="on")
    return bad_clients.stream_with_bad_clients(
        target.cluster, targets.new_folder(), rounds=counts.rounds
    )


def _large_team(targets: Targets, counts: Counts) -> Outcome:
    target = targets.target(2, **TWO, MARU_RATE_LIMITS="on")
    return asyncio.run(large_team.outgrow(target, prompts=counts.queued, members=counts.members))


PARTS: Final[dict[str, Scenario]] = {
    "claims": _claims,
    "membership": _membership,
    "full-kills": _full_kills,
    "kills": _kills,
    "tools": _tools,
    "frozen": _frozen,
    "stops": _stops,
    "isolation": _isolation,
    "postgres": _postgres,
    "redis": _redis,
    "crashes": _crashes,
    "storm": _storm,
    "bad-clients": _bad_clients,
    "permissions": _permissions,
    "removals": _removals,
    "growth": _growth,
    "cuts": _cuts,
    "large-team": _large_team,
}


def main() -> None:
    """Run the requested parts, print the results and write them."""
    arguments = _arguments()
    if absent := missing_packages():
        sys.exit(f"These packages are not installed: {', '.join(absent)}.")
    signal.signal(signal.SIGTERM, _exit)  # so that the context managers end their processes
    counts = Counts(**{field.name: getattr(arguments, field.name) for field in fields(Counts)})
    facts = machine.describe()
    parts: list[Part] = []
    names = arguments.only or list(PARTS)
    with tempfile.TemporaryDirectory(prefix="maru-chaos-") as folder, ExitStack() as stack:
        targets = Targets(Path(folder), stack)
        for number, name in enumerate(names, start=1):
            print(f"Part {number} of {len(names)}: {name} …", file=sys.stderr, flush=True)
            parts.append(_run_part(name, targets, counts))
            # Written after each part, so that an interruption loses one part at most.
            page = report.as_page(facts, counts, parts)
            arguments.out.write_text(page, encoding="utf-8")
    print(page)
    sys.exit(any(part.outcome.violations for part in parts))


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    for field in fields(Counts):
        option = f"--{field.name.replace('_', '-')}"
        help_text = f"default: {field.default:,}"
        parser.add_argument(option, type=int, default=field.default, metavar="N", help=help_text)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--out", type=Path, default=report.PAGE, metavar="FILE", help="default: RESULTS.md"
    )
    return parser.parse_args()


def _run_part(name: str, targets: Targets, counts: Counts) -> Part:
    """Run a part. An exception becomes a violation, and the next parts are run."""
    scenario = PARTS[name]
    began = time.monotonic()
    with machine.watched() as noise:
        try:
            outcome = scenario(targets, counts)
        except Exception as error:
            traceback.print_exc()
            targets.close()
            outcome = Outcome(violations=[f"the part failed: {error!r}"])
    part = Part(name, outcome, time.monotonic() - began, noise.foreign)
    print(report.as_line(part), file=sys.stderr, flush=True)
    return part


if __name__ == "__main__":
    main()
