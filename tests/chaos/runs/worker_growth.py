"""The resources of a worker do not grow with the number of its answers."""

import asyncio

from tests.chaos.target import QUICK, Outcome, Target, ask_all
from tests.cluster.harness.resource_usage import MeasuredWorker


async def answer_many(target: Target, *, warm_up: int, runs: int, concurrency: int) -> Outcome:
    """Compare the resources of the workers after `warm_up` runs and after `runs` more.

    The target's workers must be MeasuredWorkers. A new handler on CrewAI's event bus is a
    violation, because the bus never removes handlers.
    """
    workers = [worker for worker in target.cluster.workers if isinstance(worker, MeasuredWorker)]
    assert workers == target.cluster.workers, "the workers cannot report their handlers"
    async with target.clients() as clients:
        await ask_all(clients, [QUICK], prompts=warm_up, concurrency=concurrency)
        before = [await asyncio.to_thread(worker.usage) for worker in workers]
        await ask_all(clients, [QUICK], prompts=runs, concurrency=concurrency)
        after = [await asyncio.to_thread(worker.usage) for worker in workers]
        outcome = await target.check(clients)
    pairs = list(zip(before, after, strict=True))
    handlers = max(b.handlers - a.handlers for a, b in pairs)
    if handlers > 0:
        outcome.violations.append(f"CrewAI's event bus has {handlers} more handlers")
    outcome.figures |= {
        "workers": len(workers),
        "runs between the measurements": runs,
        "RSS growth, largest (MB)": max(b.megabytes - a.megabytes for a, b in pairs),
        "more threads, largest": max(b.threads - a.threads for a, b in pairs),
        "more file descriptors, largest": max(b.files - a.files for a, b in pairs),
        "more CrewAI handlers, largest": handlers,
    }
    return outcome
