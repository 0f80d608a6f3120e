"""`make chaos`: every fault, many times over; prints what was seen and writes it to RESULTS.md.

Each count is an option; what is not named with `--only` is done too. Ends with status 1 where
anything was wrong. It wants the machine for itself, for some thirty minutes.
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
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from tests.bench.report import machine
from tests.chaos import report as results
from tests.chaos.fanout import bad_clients as hostile
from tests.chaos.fanout import cut_connections as cuts
from tests.chaos.fanout import membership as intervals
from tests.chaos.fanout import reconnect_storm as storms
from tests.chaos.fanout import removals
from tests.chaos.report import Part
from tests.chaos.runs import isolation as canaries
from tests.chaos.runs import lost_permissions as rights
from tests.chaos.runs import stops as stopping
from tests.chaos.runs import worker_faults as workers
from tests.chaos.runs import worker_growth as growth
from tests.chaos.runs.claim_races import race_for_runs
from tests.chaos.stores import outages as stores
from tests.chaos.stores import web_crashes as crashes
from tests.chaos.target import Outcome, Stage
from tests.cluster.harness.cluster import Cluster, cluster_of_its_own
from tests.cluster.harness.resource_usage import CountedWorker
from tests.cluster.harness.services import Postgres, Redis, missing
from tests.provider import running


@dataclass(frozen=True)
class Counts:
    """How often each thing is done."""

    races: int = 1_000
    deliveries: int = 1_000_000
    prompts: int = 10_000
    kills: int = 20
    full_kills: int = 4
    frozen: int = 2
    stops: int = 1_000
    canaries: int = 1_000
    breaks: int = 1
    crashes: int = 10
    sockets: int = 1_000
    answers: int = 5_000
    cuts: int = 10_000
    removals: int = 1_000
    neighbours: int = 3


class Theatre:
    """Builds a stage for each part, on a cluster that serves all that follow and want it so."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._provider = stack.enter_context(running())
        self._open = stack.enter_context(ExitStack())
        self._how: dict[str, Any] | None = None
        self._cluster: Cluster | None = None

    def stage(self, size: int, **how: Any) -> Stage:
        """Return a stage of so many rooms; `how` is what its cluster is told."""
        self._provider.clear()
        if self._cluster is None or how != self._how:
            self.clear()
            made = cluster_of_its_own(self.new_folder(), self._provider.address, **how)
            self._cluster, self._how = self._open.enter_context(made), how
        return Stage(self._cluster, self._provider, size)

    def clear(self) -> None:
        """End the cluster; the next stage gets another one, whatever has become of this."""
        self._cluster = None
        self._open.close()

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))


Play = Callable[[Theatre, Counts], Outcome]
TWO: Final[dict[str, Any]] = {"workers": 2}


def _claims(theatre: Theatre, counts: Counts) -> Outcome:
    """Race on stores of their own, which no worker looks at."""
    theatre.clear()
    with Postgres() as postgres, Redis() as redis:
        folder = theatre.new_folder()
        return race_for_runs(folder, postgres, redis, races=counts.races, claimants=4)


def _intervals(theatre: Theatre, counts: Counts) -> Outcome:
    theatre.clear()
    return intervals.hear_intervals(deliveries=counts.deliveries)


def _kills(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(20, **TWO)
    return asyncio.run(
        workers.kill_workers(stage, prompts=counts.prompts, kills=counts.kills, at_once=60)
    )


def _full_kills(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(10, **TWO)
    return asyncio.run(workers.kill_full_workers(stage, kills=counts.full_kills, slots=25))


def _zombies(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(4, **TWO)
    return asyncio.run(workers.freeze_workers(stage, rounds=counts.frozen, runs=20))


def _stops(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(8, **TWO)
    return asyncio.run(stopping.stop_answers(stage, stops=counts.stops, at_once=20))


def _canaries(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(20, **TWO)
    return asyncio.run(canaries.mix_canaries(stage, prompts=counts.canaries, at_once=50))


def _postgres(theatre: Theatre, counts: Counts) -> Outcome:
    ways = [
        stores.restart_postgres(signal.SIGINT),
        stores.restart_postgres(signal.SIGQUIT),
        stores.end_connections(20),
    ]
    return _break(theatre, ways * counts.breaks)


def _redis(theatre: Theatre, counts: Counts) -> Outcome:
    ways = [
        stores.kill_redis(3),
        stores.flush_redis,
        stores.pause_redis(10),
        stores.freeze_redis(20),
    ]
    return _break(theatre, ways * counts.breaks)


def _break(theatre: Theatre, ways: Sequence[stores.Break]) -> Outcome:
    stage = theatre.stage(8, **TWO)
    return asyncio.run(stores.break_store(stage, ways, answers=20, pause=0.02))


def _crashes(theatre: Theatre, counts: Counts) -> Outcome:
    return asyncio.run(crashes.crash_webs(theatre.stage(4, **TWO), crashes=counts.crashes))


def _storm(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(1, **TWO)
    return asyncio.run(storms.storm(stage.cluster, stage.provider, sockets=counts.sockets))


def _rights(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(4, **TWO, MARU_RUN_CONCURRENCY=str(rights.SLOTS))
    return asyncio.run(rights.take_rights(stage))


def _removals(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(1, **TWO)
    provider = stage.provider.base_url
    return asyncio.run(
        removals.remove_members(stage.cluster, provider, removals=counts.removals, crowd=50)
    )


def _growth(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(8, worker=CountedWorker)
    return asyncio.run(growth.answer_many(stage, warm=200, runs=counts.answers, at_once=30))


def _cuts(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(1, **cuts.LOSSY)
    faults = cuts.faults_of(stage.cluster.redis)
    tally = asyncio.run(
        cuts.cut_wires(stage.cluster, stage.provider, cuts=counts.cuts, rooms=12, faults=faults)
    )
    figures: dict[str, float] = {
        "wires cut": tally.connections,
        "answers": tally.answers,
        "heard to the end": tally.heard_to_the_end,
        "faults of Redis": len(faults),
    }
    return Outcome(figures, tally.complaints)


def _hostile(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(1, webs=1, workers=0, MARU_RATE_LIMITS="on")
    return hostile.live_beside(stage.cluster, theatre.new_folder(), rounds=counts.neighbours)


PLAYS: Final[dict[str, tuple[str, Play]]] = {
    "claims": ("RUN-04, RUN-05", _claims),
    "intervals": ("TEN-03", _intervals),
    "deaths": ("RUN-01", _full_kills),
    "kills": ("RUN-01, RUN-02", _kills),
    "zombies": ("RUN-03", _zombies),
    "stops": ("RUN-12", _stops),
    "canaries": ("TEN-16, RUN-17", _canaries),
    "postgres": ("STO-02, STO-03", _postgres),
    "redis": ("STO-04", _redis),
    "crashes": ("STO-08", _crashes),
    "storm": ("REC-02", _storm),
    "hostile": ("WS-05, WS-09, WS-10, WS-13", _hostile),
    "rights": ("RUN-16", _rights),
    "removals": ("TEN-04", _removals),
    "growth": ("RUN-18", _growth),
    "cuts": ("REC-01", _cuts),
}


def main() -> None:
    """Run what is asked for, print it, write it down."""
    arguments = _arguments()
    if absent := missing():
        sys.exit(f"Not installed: {', '.join(absent)}.")
    signal.signal(signal.SIGTERM, _end)  # or what was started would go on without us
    counts = Counts(**{field.name: getattr(arguments, field.name) for field in fields(Counts)})
    facts = machine.describe()
    parts: list[Part] = []
    names = arguments.only or list(PLAYS)
    with tempfile.TemporaryDirectory(prefix="maru-chaos-") as folder, ExitStack() as stack:
        theatre = Theatre(Path(folder), stack)
        for number, name in enumerate(names, start=1):
            print(f"{number} of {len(names)}: {name} …", file=sys.stderr, flush=True)
            parts.append(_play(name, theatre, counts))
            # After each part: what was seen in an hour must not be lost in the next one.
            page = results.as_page(facts, counts, parts)
            arguments.out.write_text(page, encoding="utf-8")
    print(page)
    sys.exit(any(part.outcome.complaints for part in parts))


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    for field in fields(Counts):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=field.default, metavar="N")
    parser.add_argument("--only", nargs="+", choices=PLAYS, metavar="PART", help=", ".join(PLAYS))
    parser.add_argument("--out", type=Path, default=results.PAGE, metavar="FILE")
    return parser.parse_args()


def _play(name: str, theatre: Theatre, counts: Counts) -> Part:
    """Play a part. One that breaks off is told as such, and the others go on."""
    ids, play = PLAYS[name]
    began = time.monotonic()
    with machine.watched() as calm:
        try:
            outcome = play(theatre, counts)
        except Exception as error:
            traceback.print_exc()
            theatre.clear()
            outcome = Outcome(complaints=[f"broke off: {error!r}"])
    part = Part(name, ids, outcome, time.monotonic() - began, calm.foreign)
    print(results.as_line(part), file=sys.stderr, flush=True)
    return part


if __name__ == "__main__":
    main()
