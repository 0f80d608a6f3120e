"""The systemd units: commands, settings and sandbox."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from maru.config.env import PREFIX, Env
from maru.management.commands import runagents
from maru.server.process import DRAIN_SECONDS
from tests.live import ROOT

UNITS = sorted((ROOT / "deploy").glob("*.service"))
NAMES = [unit.name for unit in UNITS]
PYTHON = "/opt/maru/.venv/bin/python"
MOST_EXPOSED = 20
"""Highest exposure by systemd-analyze security, of 100; a unit without a sandbox has 96."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="not installed: systemd"
)


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def analyzed(unit: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *command, str(unit)], capture_output=True, text=True, check=False
    )


@pytest.fixture(params=UNITS, ids=NAMES)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit of deploy/ with the paths of this checkout."""
    original: Path = request.param
    text = original.read_text()
    assert PYTHON in text
    copy = tmp_path / original.name
    copy.write_text(text.replace(PYTHON, sys.executable))
    return copy


def test_each_kind_of_process_has_a_unit() -> None:
    assert NAMES == ["maru-agents@.service", "maru-migrate.service", "maru-web@.service"]


@needs_systemd
def test_systemd_accepts_every_line(unit: Path) -> None:
    found = analyzed(unit, "verify")

    assert (found.returncode, found.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("line", ["ProtectSytem=strict", "ExecStart=/nowhere/python"])
def test_invalid_line_is_found(unit: Path, line: str) -> None:
    unit.write_text(unit.read_text().replace("[Service]", f"[Service]\n{line}"))

    assert analyzed(unit, "verify").stderr


@needs_systemd
def test_unit_is_sandboxed(unit: Path) -> None:
    limit = ("security", "--offline=true", f"--threshold={MOST_EXPOSED}")

    assert analyzed(unit, *limit).returncode == 0
    unit.write_text(
        re.sub(r"(?m)^(Protect|Restrict|Private|System|Capab).*\n", "", unit.read_text())
    )
    assert analyzed(unit, *limit).returncode != 0


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_commands_of_units_exist(unit: Path) -> None:
    (command,) = values(unit, "ExecStart")
    words = command.split()

    assert words[0] == PYTHON
    assert words[1:] in (
        ["-m", "maru.server"],
        ["manage.py", "runagents"],
        ["manage.py", "migrate"],
    )
    assert values(unit, "WorkingDirectory") == ["/opt/maru"]


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_settings_of_units_exist(unit: Path) -> None:
    named = {line.partition("=")[0] for line in values(unit, "Environment")}
    known = {PREFIX + name.upper() for name in Env.model_fields} | {
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
    }

    assert named <= known
    own = ["-/etc/maru/owner.env"] if unit.name.startswith("maru-migrate") else []
    assert values(unit, "EnvironmentFile") == ["/etc/maru/maru.env", *own]


@pytest.mark.parametrize(
    ("name", "drain"), [("maru-web@", DRAIN_SECONDS), ("maru-agents@", runagents.DRAIN_SECONDS)]
)
def test_no_process_is_killed_before_its_drain_ends(name: str, drain: int) -> None:
    unit = ROOT / "deploy" / f"{name}.service"

    assert int(values(unit, "TimeoutStopSec")[0]) >= drain + 5
    assert values(unit, "Restart") == ["always"]


def by_hand() -> str:
    """Return the section of the README about an installation by hand."""
    text = (ROOT / "deploy" / "README.md").read_text()
    return text.partition("\n## By hand\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_steps_by_hand_agree_with_the_units(unit: Path) -> None:
    steps = by_hand()

    (user,), (group,) = values(unit, "User"), values(unit, "Group")
    assert user == group
    assert f"useradd --system --home-dir /opt/maru --shell /usr/sbin/nologin {user}\n" in steps
    (mode,) = values(unit, "StateDirectoryMode")
    (folder,) = values(unit, "StateDirectory")
    assert f"| `/var/lib/{folder}` | {user} | {mode} |" in steps
    assert f"Environment=MARU_DATA_DIR=/var/lib/{folder}" in unit.read_text()
    for path in (PYTHON.removesuffix("/bin/python"), *values(unit, "WorkingDirectory")):
        assert path in steps
    started = re.search(r"systemctl enable --now (.+)", steps)
    assert started is not None
    for instance in started[1].split():
        name, _, port = instance.partition("@")
        assert f"{name}@.service" in NAMES
        assert port.isdigit()


def test_steps_by_hand_agree_with_compose() -> None:
    command = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["redis"][
        "command"
    ]
    flags = dict(zip(command[1::2], command[2::2], strict=True))
    (block,) = re.findall(r"```\n(save .+?)```", by_hand(), re.DOTALL)
    written = dict(line.split(maxsplit=1) for line in block.splitlines())

    for flag, value in flags.items():
        assert written[flag.removeprefix("--")].strip('"') == value


def test_steps_by_hand_name_the_required_python() -> None:
    project = (ROOT / "pyproject.toml").read_text()

    (version,) = re.findall(r'requires-python = ">=([\d.]+),', project)
    assert f"Python {version} (required)" in by_hand()
    assert f"python{version} -m venv /opt/maru/.venv" in by_hand()
