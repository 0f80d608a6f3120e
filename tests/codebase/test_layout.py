"""The layout of the repository, the sizes of its files and folders, and its lock files."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.live import ROOT

FOLDERS = {"platform", "rooms", "agents", "accounts", "templates", "static", "tests", "deploy"}
FILES = {
    "manage.py",
    "pyproject.toml",
    "Makefile",
    "requirements.lock",
    "requirements-dev.lock",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    ".env.example",
    ".gitignore",
    ".ci",
}

LOCKS = ("requirements.lock", "requirements-dev.lock", "deploy/requirements-web.lock")
CHART_LOCK = "tests/deploy/requirements-chart.lock"
LONGEST = 400
MOST_MODULES = 15
APPS = {"accounts", "agents", "maru", "rooms"}
LAYERS = {"api", "crews", "login", "models", "services", "steps", "views", "pages"}
"""Folders whose modules share the name of their subject: api/rooms.py, services/rooms.py."""
LONGER_FILES = {
    "ARCHITECTURE.md": "each decision in a few sentences",
    "static/rooms/room.js": "what an open room connects",
    "static/rooms/room_state.js": "every event of a room",
    "static/rooms/timeline/timeline_view.js": "every change of a timeline",
    "tests/rooms/fanout/membership_machine.py": "one state machine",
    "tests/security/requests.py": "every page and operation",
    "tests/security/test_audited.py": "every service and its audit entry",
    "tests/accounts/login/test_signing_in.py": "every kind of sign-in and refusal",
    "tests/rooms/runs/test_runner.py": "a worker and its faults",
    "tests/rooms/runs/test_lifecycle.py": "the states of a run in the database",
    "tests/rooms/socket/test_consumer.py": "every command of the socket",
    "tests/rooms/test_state_and_events.py": "every event of a room's log",
    "tests/wire/shapes.py": "the shape of every frame",
}
"""Longer files, each with the reason."""

NOT_WRITTEN_BY_HAND = re.compile(
    r"/migrations/|/locale/|^static/vendor/|^tests/bench/results/|\.lock$|\.svg$|\.png$"
)
HARD_CODED_ROOM = "chat" + "_room"
REGISTRY = re.compile(
    r"index.url|registry\s*[=:]|\bregistry\.|pypi\.org|pythonhosted|npmjs|\"resolved\":|/simple\b"
)
PINNED = re.compile(
    r"^(?P<name>[a-z0-9._-]+)(?:\[[a-z0-9,_-]+\])?==(?P<version>\S+)(?: ; [^\\]+)? \\\n"
    r"(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)


def files() -> list[str]:
    """Return the paths of all tracked and all new files that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in sorted({*done.stdout.splitlines()}) if (ROOT / path).is_file()]


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def test_top_level_holds_only_the_expected_entries() -> None:
    top = {path.partition("/")[0] for path in files()}

    assert top <= FOLDERS | FILES
    assert FOLDERS - {"deploy"} <= top


def test_platform_is_not_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert [path.name for path in (ROOT / "platform").iterdir() if path.name[0] not in "._"] == [
        "maru"
    ]


@pytest.mark.parametrize("path", ["", f"{ROOT}:{ROOT / 'platform'}"], ids=["venv", "on the path"])
def test_standard_module_platform_can_be_imported(path: str) -> None:
    code = "import platform, maru; print(platform.system())"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "Linux\n"


def test_package_named_platform_would_hide_the_standard_module(tmp_path: Path) -> None:
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform" / "__init__.py").write_text("")

    code = "import platform; platform.system()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False
    )

    assert done.returncode != 0


def test_no_room_name_is_hard_coded() -> None:
    assert [path for path in files() if HARD_CODED_ROOM in text_of(path)] == []


def test_no_module_has_a_meaningless_name() -> None:
    assert [path for path in files() if re.search(r"(^|/)(utils|base|helpers)\.py$", path)] == []


def too_long(paths: list[str]) -> dict[str, int]:
    lengths = {
        path: text_of(path).count("\n") for path in paths if not NOT_WRITTEN_BY_HAND.search(path)
    }
    return {path: length for path, length in lengths.items() if length > LONGEST}


def test_no_file_is_too_long() -> None:
    assert set(too_long(files())) <= set(LONGER_FILES)


def test_too_long_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("pass\n" * (LONGEST + 1))

    assert too_long([str(tmp_path / "long.py")]) == {str(tmp_path / "long.py"): LONGEST + 1}


def crowded_folders(paths: list[str]) -> dict[str, int]:
    """Return the folders that hold more than MOST_MODULES modules of their own."""
    modules = [
        path
        for path in paths
        if re.search(r"\.(py|js|css)$", path)
        and not path.startswith("tests/")
        and not path.endswith("__init__.py")
        and not NOT_WRITTEN_BY_HAND.search(path)
    ]
    counts = Counter(str(Path(path).parent) for path in modules)
    return {folder: count for folder, count in counts.items() if count > MOST_MODULES}


def test_no_folder_holds_too_many_modules() -> None:
    assert crowded_folders(files()) == {}


def test_crowded_folder_is_found() -> None:
    paths = [f"rooms/{number}.py" for number in range(MOST_MODULES + 1)]

    assert crowded_folders(paths) == {"rooms": MOST_MODULES + 1}
    assert crowded_folders([*paths[1:], "rooms/__init__.py"]) == {}


def repeated_names(paths: list[str]) -> list[list[str]]:
    """Return the modules that share a base name within an app and are not all in LAYERS."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        app, _, rest = path.removeprefix("platform/").partition("/")
        if app in APPS and rest.endswith(".py") and "migrations/" not in rest:
            found.setdefault((app, Path(rest).stem), []).append(path)
    return [
        modules
        for (_, name), modules in found.items()
        if name != "__init__"
        and len(modules) > 1
        and not all(Path(module).parent.name in LAYERS for module in modules)
    ]


def test_no_name_stands_for_two_subjects_in_an_app() -> None:
    assert repeated_names(files()) == []


def test_repeated_name_is_found() -> None:
    assert repeated_names(["rooms/a/x.py", "rooms/api/x.py", "agents/x.py"]) == [
        ["rooms/a/x.py", "rooms/api/x.py"]
    ]
    assert repeated_names(["rooms/api/x.py", "rooms/services/x.py"]) == []


def named_registries(paths: list[str]) -> list[tuple[str, str]]:
    """Return the files that name a package registry, with the match."""
    return [
        (path, found)
        for path in paths
        for found in REGISTRY.findall(text_of(path).replace("--no-emit-index-url", ""))
    ]


def test_no_install_file_names_a_registry() -> None:
    where = re.compile(
        r"\.lock$|(^|/)(pyproject\.toml|Makefile|Dockerfile|package.*\.json|\.npmrc)|"
        r"^deploy/|^\.ci/|^tests/system\.sh$"
    )
    paths = [path for path in files() if where.search(path)]

    assert {*LOCKS, "pyproject.toml", "Makefile"} <= {*paths}
    assert named_registries(paths) == []


@pytest.mark.parametrize(
    "line",
    [
        "index_url = https://example.invalid/x",
        "registry=//example.invalid/",
        '"resolved": "//example.invalid/a.tgz"',
        "https://files.pythonhosted.org/packages/a.whl",
    ],
)
def test_registry_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "some.lock").write_text(f"{line}\n")

    assert named_registries([str(tmp_path / "some.lock")])


def pins(lock: str) -> dict[str, str]:
    return {found["name"]: found["version"] for found in PINNED.finditer(lock)}


def not_pinned(requirements: list[str], lock: str) -> list[str]:
    """Return the requirements for which the lock has no matching version with hashes."""
    pinned = pins(lock)
    parsed = [Requirement(requirement) for requirement in requirements]
    return [
        str(requirement)
        for requirement in parsed
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"))
        or canonicalize_name(requirement.name) not in pinned
    ]


def test_locks_pin_every_requirement_of_the_project() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))
    web: list[str] = project["project"]["dependencies"]
    runtime: list[str] = [*web, *project["project"]["optional-dependencies"]["agents"]]
    development: list[str] = project["dependency-groups"]["dev"]

    assert not_pinned(web, text_of("deploy/requirements-web.lock")) == []
    assert not_pinned(runtime, text_of("requirements.lock")) == []
    assert not_pinned([*runtime, *development], text_of("requirements-dev.lock")) == []


def test_every_lock_entry_is_a_pin_with_hashes() -> None:
    for name in (*LOCKS, CHART_LOCK):
        text = text_of(name)
        entries = re.findall(r"^[^\s#-]", text, re.MULTILINE)
        assert len(entries) == len(pins(text)), name


def test_locks_agree() -> None:
    runtime, development, web = (pins(text_of(name)) for name in LOCKS)

    assert {name: development.get(name) for name in runtime} == runtime
    assert {name: runtime.get(name) for name in web} == web
    chart = pins(text_of(CHART_LOCK))
    assert {name: development.get(name, pin) for name, pin in chart.items()} == chart


def test_web_lock_does_not_contain_the_engine() -> None:
    web, runtime = (pins(text_of(name)) for name in ("deploy/requirements-web.lock", LOCKS[0]))

    assert {"crewai", "openai", "chromadb", "numpy"} & {*web} == set()
    assert {"crewai", "openai", "chromadb", "numpy"} <= {*runtime}


def test_missing_old_or_unhashed_pin_is_found() -> None:
    pin = f"pkg==1.0 \\\n    --hash=sha256:{'0' * 64}\n"

    assert not_pinned(["pkg~=1.0"], pin) == []
    assert not_pinned(["pkg>=1.1"], pin) == ["pkg>=1.1"]
    assert not_pinned(["other"], pin) == ["other"]
    assert not_pinned(["pkg"], "pkg==1.0\n") == ["pkg"]
