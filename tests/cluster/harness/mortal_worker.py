"""`manage.py runagents` that kills itself at a chosen step of a tool call, once for each call.

A call with `"kill": "after-begin"` in its arguments kills the worker at that step. The steps are
before and after each function of the journal, `wait`, and `tool`, after the tool has been executed.
"""

import json
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import django

from tests.cluster.harness import COUNTED_TOOLS, counted_tools


def kill_at(step: str, calls: Iterable[str]) -> None:
    """Kill this process if one of the calls, given by their arguments, wants it now."""
    for arguments in calls:
        try:
            wanted = json.loads(arguments)
        except ValueError:
            continue
        marker = Path(os.environ[COUNTED_TOOLS]) / f"{wanted.get('key')}.killed"
        if wanted.get("kill") == step and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the command with the steps watched."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
    django.setup()
    from django.core.management import call_command

    from rooms.models import ToolCall
    from rooms.runs.steps import journal, waiting

    def watch(module: Any, name: str, calls: Callable[..., Iterable[str]]) -> None:
        original = getattr(module, name)

        def watched(job: Any, *arguments: Any) -> Any:
            found = list(calls(job, *arguments))
            kill_at(f"before-{name}", found)
            result = original(job, *arguments)
            kill_at(f"after-{name}", found)
            return result

        setattr(module, name, watched)

    def of_call(_job: Any, call: Any, *_: Any) -> Iterable[str]:
        return ToolCall.objects.filter(pk=call).values_list("arguments", flat=True)

    watch(journal, "propose", lambda _job, _n, _text, _tokens, calls: [c.arguments for c in calls])
    watch(journal, "begin", of_call)
    watch(journal, "finish", of_call)
    watch(
        waiting,
        "wait",
        lambda job, *_: ToolCall.objects.filter(run=job.run).values_list("arguments", flat=True),
    )
    count = counted_tools.count

    def count_and_kill(tool: str, key: str) -> str:
        result = count(tool, key)
        rows = ToolCall.objects.filter(arguments__contains=f'"{key}"')
        kill_at("tool", rows.values_list("arguments", flat=True))
        return result

    counted_tools.count = count_and_kill
    call_command("runagents")


if __name__ == "__main__":
    main()
