"""A worker that has given many answers holds no more than one that has given a few: RUN-18."""

from dataclasses import dataclass
from pathlib import Path

from tests.chaos.stage import QUICK, Outcome, Stage, ask_all


@dataclass(frozen=True)
class Size:
    """What a process holds."""

    megabytes: float
    threads: int
    descriptors: int


async def answer_many(stage: Stage, *, warm: int, runs: int, at_once: int) -> Outcome:
    """Compare what the workers hold after `warm` answers and after `runs` more."""
    pids = [worker.pid for worker in stage.cluster.workers]
    async with stage.audience() as gathered:
        await ask_all(gathered, [QUICK], prompts=warm, at_once=at_once)
        before = [_size(pid) for pid in pids]
        await ask_all(gathered, [QUICK], prompts=runs, at_once=at_once)
        after = [_size(pid) for pid in pids]
        outcome = await stage.verdict(gathered)
    pairs = list(zip(before, after, strict=True))
    outcome.figures |= {
        "answers between the two looks": runs,
        "RSS grown by, most (MB)": max(b.megabytes - a.megabytes for a, b in pairs),
        "threads more, most": max(b.threads - a.threads for a, b in pairs),
        "file descriptors more, most": max(b.descriptors - a.descriptors for a, b in pairs),
    }
    return outcome


def _size(pid: int) -> Size:
    process = Path(f"/proc/{pid}")
    lines = (process / "status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines)
    return Size(
        megabytes=int(told["VmRSS"].split()[0]) * 1024 / 1e6,
        threads=int(told["Threads"]),
        descriptors=len(list((process / "fd").iterdir())),
    )
