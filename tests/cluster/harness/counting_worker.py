"""`manage.py runagents` that prints the number of CrewAI's event handlers at SIGUSR1.

At SIGUSR1 it prints one line: `handlers` and how many are on CrewAI's bus.
"""

import os
import signal
from types import FrameType

import django


def count(_number: int, _frame: FrameType | None) -> None:
    """Print how many handlers there are; CrewAI has been imported by the time anybody asks."""
    from crewai.events.event_bus import crewai_event_bus as bus

    by_event = [*bus._sync_handlers.values(), *bus._async_handlers.values()]
    print("handlers", sum(map(len, by_event)), flush=True)


def main() -> None:
    """Run as `manage.py runagents` does."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
    django.setup()
    from django.core.management import call_command

    signal.signal(signal.SIGUSR1, count)
    call_command("runagents")


if __name__ == "__main__":
    main()
