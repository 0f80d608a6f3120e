"""The throttle limits each process of its command to a share of a core."""

import subprocess
import sys
from pathlib import Path

import pytest

BUSY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, *sys.argv]) if sys.argv.pop() == "parent" else None
began, used = time.perf_counter(), time.process_time()
while time.perf_counter() - began < 1.5:
    pass
print((time.process_time() - used) / (time.perf_counter() - began))
sys.exit(child.wait() if child else 3)
"""


@pytest.mark.parametrize("options", [[], ["--signals"]])
def test_throttle_holds_a_process_and_its_child_to_a_share(
    root: Path, tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "busy.py").write_text(BUSY)
    busy = [sys.executable, str(tmp_path / "busy.py"), "child", "parent"]
    command = [sys.executable, "-m", "tests.throttle", "--share", "0.25", *options, "--", *busy]

    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    shares = [float(line) for line in done.stdout.split()]
    assert len(shares) == 2
    assert max(shares) < 0.5  # of a core for each process; less on a busy machine
    assert done.returncode == 3
