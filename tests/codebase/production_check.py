"""Runs Django's deployment check in the production profile; any warning is a failure."""

import os
import subprocess
import sys

from tests.live import ROOT

PRODUCTION = {
    "MARU_DATABASE_URL": "postgresql://maru@127.0.0.1/maru",
    "MARU_REDIS_URL": "redis://127.0.0.1:6379/0",
    "MARU_PUBLIC_URL": "https://chat.example.com",
    "MARU_SECRET_KEY": "only-for-this-check-0123456789-abcdefghijklmnopqrstuvwxyz",
}


def main() -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MARU_")}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env={**plain, **PRODUCTION}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
