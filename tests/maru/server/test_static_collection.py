"""Production processes that start on a data folder without static files collect them once."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness import WITHOUT_STORES
from tests.live import Installation

COLLECT = """
import django
django.setup()
from maru.server import static
collect = static.call_command
static.call_command = lambda *given, **options: [print(*given), collect(*given, **options)]
static.collect_missing()
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """Start a process that does what a web process does first, and prints what it runs."""
    env = Installation(folder, DJANGO_SETTINGS_MODULE="maru.settings", **WITHOUT_STORES).env
    command = [sys.executable, "-c", COLLECT]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate()
    assert process.returncode == 0
    return output


def changes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_processes_that_start_at_once_collect_the_files_once(tmp_path: Path) -> None:
    together = [start(tmp_path), start(tmp_path)]

    assert sorted(map(ended, together)) == ["", "collectstatic\n"]
    static = tmp_path / "var" / "static"
    names = json.loads((static / "staticfiles.json").read_text())["paths"]
    assert all((static / name).is_file() for name in names.values())
    assert "bundles/maru.js" in names

    before = changes(static)
    assert ended(start(tmp_path)) == ""
    assert changes(static) == before  # it may be read-only
