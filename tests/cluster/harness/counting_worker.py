"""`manage.py runagents` that prints the number of CrewAI's event handlers.

At each SIGUSR1 it prints one line: `handlers N`. Started by `resource_usage.MeasuredWorker`.
"""

import os
import signal
from types import FrameType

import django


def print_count(_number: int, _frame: FrameType | None) -> None:
    """Print the number of handlers. The worker has imported CrewAI before the first signal."""
    from crewai.events.event_bus import crewai_event_bus as bus

    by_event = [*bus._sync_handlers.values(), *bus._async_handlers.values()]
    print("handlers", sum(map(len, by_event)), flush=True)


def main() -> None:
    """Run `manage.py runagents` with the signal handler installed."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
    django.setup()
    from django.core.management import call_command

    signal.signal(signal.SIGUSR1, print_count)
    call_command("runagents")


if __name__ == "__main__":
    main()
