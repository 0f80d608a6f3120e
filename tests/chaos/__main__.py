"""`make chaos`: every fault, many times over; prints what was seen and writes it to RESULTS.md.

Each count is an option; what is not named with `--only` is done too. Ends with status 1 where
anything was wrong.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from tests.bench import machine
from tests.chaos import canaries, crashes, growth, results, rights, stopping, stores, workers
from tests.chaos.claims import race_for_runs
from tests.chaos.cuts import LOSSY, cut_wires, faults_of
from tests.chaos.results import Part
from tests.chaos.stage import Outcome, Stage
from tests.cluster.cluster import Cluster
from tests.cluster.services import Postgres, Redis, missing
from tests.provider import running


@dataclass(frozen=True)
class Counts:
    """How often each thing is done."""

    prompts: int = 10_000
    kills: int = 20
    frozen: int = 20
    runs_frozen: int = 20
    races: int = 1_000
    stops: int = 1_000
    breaks: int = 5
    crashes: int = 20
    canaries: int = 25_000
    answers: int = 5_000
    cuts: int = 10_000


class Theatre:
    """Builds a stage for each part. Its rooms are its own; a cluster serves all that want it so."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._provider = stack.enter_context(running())
        self._clusters: dict[tuple[tuple[str, Any], ...], Cluster] = {}

    def stage(self, size: int, **env: Any) -> Stage:
        """Return a stage of so many rooms."""
        self._provider.forget()
        key = tuple(env.items())
        if key not in self._clusters:
            self._clusters[key] = self._cluster(**env)
        return Stage(self._clusters[key], self._provider, size)

    def races(self, races: int) -> Outcome:
        """Race on stores of their own, which no worker looks at."""
        with Postgres() as postgres, Redis() as redis:
            return race_for_runs(self._new_folder(), postgres, redis, races=races, claimants=4)

    def _cluster(self, **env: Any) -> Cluster:
        postgres, redis = self._stack.enter_context(Postgres()), self._stack.enter_context(Redis())
        allowed, folder = self._provider.address, self._new_folder()
        made = Cluster(folder, postgres, redis, workers=2, MARU_EGRESS_ALLOW=allowed, **env)
        return self._stack.enter_context(made)

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))


Play = Callable[[Theatre, Counts], Outcome]


def _kills(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(20)
    return asyncio.run(
        workers.kill_workers(
            stage, prompts=counts.prompts, kills=counts.kills, at_once=40, pause=20
        )
    )


def _zombies(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(4)
    return asyncio.run(workers.freeze_workers(stage, rounds=counts.frozen, runs=counts.runs_frozen))


def _claims(theatre: Theatre, counts: Counts) -> Outcome:
    return theatre.races(counts.races)


def _stops(theatre: Theatre, counts: Counts) -> Outcome:
    return asyncio.run(stopping.stop_answers(theatre.stage(8), stops=counts.stops, at_once=20))


def _rights(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(4, MARU_RUN_CONCURRENCY=str(rights.SLOTS))
    return asyncio.run(rights.take_rights(stage))


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
    return asyncio.run(stores.break_store(theatre.stage(8), ways, answers=20, pause=0.02))


def _crashes(theatre: Theatre, counts: Counts) -> Outcome:
    return asyncio.run(crashes.crash_webs(theatre.stage(4), crashes=counts.crashes))


def _canaries(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(20)
    return asyncio.run(canaries.mix_canaries(stage, prompts=counts.canaries, at_once=50))


def _growth(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(8)
    return asyncio.run(growth.answer_many(stage, warm=100, runs=counts.answers, at_once=30))


def _cuts(theatre: Theatre, counts: Counts) -> Outcome:
    stage = theatre.stage(1, **LOSSY)
    faults = 5 * faults_of(stage.cluster.redis)
    tally = asyncio.run(cut_wires(stage.cluster, stage.provider, cuts=counts.cuts, faults=faults))
    figures = {
        "wires cut": tally.connections,
        "answers": tally.answers,
        "heard to the end": tally.heard_to_the_end,
    }
    return Outcome(figures, tally.complaints)


PLAYS: Final[dict[str, tuple[str, Play]]] = {
    "claims": ("RUN-04, RUN-05", _claims),
    "growth": ("RUN-18", _growth),
    "canaries": ("TEN-16, RUN-17", _canaries),
    "kills": ("RUN-01, RUN-02", _kills),
    "zombies": ("RUN-03", _zombies),
    "stops": ("RUN-12", _stops),
    "rights": ("RUN-16", _rights),
    "postgres": ("STO-02, STO-03", _postgres),
    "redis": ("STO-04", _redis),
    "crashes": ("STO-08", _crashes),
    "cuts": ("REC-01", _cuts),
}


def main() -> None:
    """Run what is asked for, print it, write it down."""
    arguments = _arguments()
    if absent := missing():
        sys.exit(f"Not installed: {', '.join(absent)}.")
    counts = Counts(**{field.name: getattr(arguments, field.name) for field in fields(Counts)})
    facts = machine.describe()
    with tempfile.TemporaryDirectory(prefix="maru-chaos-") as folder, ExitStack() as stack:
        theatre = Theatre(Path(folder), stack)
        parts: list[Part] = []
        for name in arguments.only or PLAYS:
            parts.append(_play(name, theatre, counts))
            # After each part: what was seen in an hour must not be lost in the next one.
            page = results.as_page(facts, counts, parts)
            arguments.out.write_text(page, encoding="utf-8")
    print(page)
    sys.exit(any(part.outcome.complaints for part in parts))


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
    print(f"{name} …", file=sys.stderr, flush=True)
    ids, play = PLAYS[name]
    began = time.monotonic()
    try:
        outcome = play(theatre, counts)
    except Exception as error:
        outcome = Outcome(complaints=[f"broke off: {error!r}"])
    part = Part(name, ids, outcome, time.monotonic() - began)
    print(results.as_line(part), file=sys.stderr, flush=True)
    return part


if __name__ == "__main__":
    main()
