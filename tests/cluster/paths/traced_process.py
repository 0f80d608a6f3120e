"""`python -m tests.cluster.paths.traced_process web|worker FILE`: a process that records its calls.

It runs on asyncio's own event loop, which is Python: uvloop's calls do not show in a profile. At
SIGUSR1 it writes the records since the last SIGUSR1 to FILE, then creates FILE.done.

A record is taken at each *hand-over*: the call of a library function by which our code passes work
to another thread, task, transaction or process. It holds the functions of ours on the stack.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

ROOT: Final = str(Path(__file__).resolve().parents[3]) + os.sep
OURS: Final = tuple(f"{ROOT}{name}{os.sep}" for name in ("accounts", "agents", "platform", "rooms"))
HAND_OVERS: Final = {
    ("concurrent/futures/thread.py", "submit"),
    ("django/db/transaction.py", "on_commit"),
    ("asyncio/base_events.py", "call_soon"),
    ("asyncio/base_events.py", "call_soon_threadsafe"),
    ("asyncio/base_events.py", "create_task"),
    ("asyncio/selector_events.py", "write"),
}

records: list[dict[str, Any]] = []


def record(frame: FrameType, event: str, _argument: object) -> None:
    """Record the stack if the call is a hand-over (a profile function, see sys.setprofile)."""
    if event != "call":
        return
    code = frame.f_code
    if not any(
        code.co_name == name and code.co_filename.endswith(path) for path, name in HAND_OVERS
    ):
        return
    stack = []
    above = frame.f_back
    while above is not None and above.f_code.co_name != "_run_once":  # the event loop
        if above.f_code.co_filename.startswith(OURS):
            path = above.f_code.co_filename.removeprefix(ROOT)
            stack.append([path, above.f_code.co_qualname])
        above = above.f_back
    if stack:
        data = bytes(frame.f_locals["data"]) if code.co_name == "write" else b""
        records.append({"call": code.co_name, "stack": stack[::-1], "data": data.decode("latin-1")})


def dump(_number: int, _frame: FrameType | None) -> None:
    """Write the records to the file and forget them."""
    path = Path(sys.argv[2])
    path.write_text(json.dumps(records))
    records.clear()
    path.with_suffix(".done").touch()


def with_asyncio_loop(config: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return uvicorn's configuration with asyncio's event loop instead of uvloop's."""
    made = config(*args, **options)
    made.loop = "asyncio"
    return made


def main() -> None:
    """Run a web process or a worker under the profile function."""
    signal.signal(signal.SIGUSR1, dump)
    threading.setprofile(record)
    sys.setprofile(record)
    if sys.argv[1] == "web":
        from maru.server import process

        vars(process)["config"] = partial(with_asyncio_loop, process.config)
        process.main()
    else:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
        import django
        import uvloop

        vars(uvloop)["run"] = asyncio.run
        django.setup()
        from django.core.management import call_command

        call_command("runagents")


if __name__ == "__main__":
    main()
