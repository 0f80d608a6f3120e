"""A worker that has given many answers holds no more than one that has given a few: RUN-18."""

import asyncio

from tests.chaos.target import QUICK, Outcome, Stage, ask_all
from tests.cluster.harness.resource_usage import CountedWorker


async def answer_many(stage: Stage, *, warm: int, runs: int, at_once: int) -> Outcome:
    """Compare what the workers of the stage, which count, hold after `warm` answers and after more.

    A handler more on CrewAI's bus is a complaint: what is added there stays for good.
    """
    workers = [worker for worker in stage.cluster.workers if isinstance(worker, CountedWorker)]
    assert workers == stage.cluster.workers, "their handlers cannot be counted"
    async with stage.audience() as gathered:
        await ask_all(gathered, [QUICK], prompts=warm, at_once=at_once)
        before = [await asyncio.to_thread(worker.look) for worker in workers]
        await ask_all(gathered, [QUICK], prompts=runs, at_once=at_once)
        after = [await asyncio.to_thread(worker.look) for worker in workers]
        outcome = await stage.verdict(gathered)
    pairs = list(zip(before, after, strict=True))
    handlers = max(b.handlers - a.handlers for a, b in pairs)
    if handlers > 0:
        outcome.complaints.append(f"{handlers} handlers more on CrewAI's bus")
    outcome.figures |= {
        "workers": len(workers),
        "answers between the two looks": runs,
        "RSS grown by, most (MB)": max(b.megabytes - a.megabytes for a, b in pairs),
        "threads more, most": max(b.threads - a.threads for a, b in pairs),
        "file descriptors more, most": max(b.files - a.files for a, b in pairs),
        "handlers of CrewAI more, most": handlers,
    }
    return outcome
