"""The production profile: modules that a web process loads, and Django's deployment check."""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from tests.codebase.production_check import PRODUCTION
from tests.live import ROOT

ENGINE_PACKAGES = {
    "crewai",
    "crewai_core",
    "litellm",
    "openai",
    "anthropic",
    "chromadb",
    "onnxruntime",
}
ENGINE_PACKAGES |= {
    "tiktoken",
    "tokenizers",
    "lancedb",
    "pdfplumber",
    "instructor",
    "numpy",
    "pandas",
}
LARGEST_MIB = 160

WEB_PROCESS = """
import maru.server.asgi
from django.urls import get_resolver
get_resolver().reverse_dict
"""
REPORT = """
import json, sys
# Not ru_maxrss, which includes the memory of the parent process before exec.
status = open("/proc/self/status").read()
mib = int(status.split("VmRSS:")[1].split()[0]) // 1024
print(json.dumps({"mib": mib, "modules": sorted(sys.modules)}))
"""


def run_in_production_profile(folder: Path, code: str) -> dict[str, Any]:
    """Run `code` in a process of the production profile; return its memory in MiB and modules.

    PostgreSQL and Redis are not there.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MARU_")}
    path = f"{ROOT}{os.pathsep}{ROOT / 'platform'}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + REPORT],
        cwd=folder,
        env={**plain, **PRODUCTION, "MARU_DATA_DIR": str(folder), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def engine_modules(modules: Collection[str]) -> set[str]:
    return ENGINE_PACKAGES & {module.partition(".")[0] for module in modules} | {
        module for module in modules if f"{module}.".startswith("agents.engine.")
    }


def test_web_process_does_not_load_the_engine(tmp_path: Path) -> None:
    process = run_in_production_profile(tmp_path, WEB_PROCESS)

    print(f"A web process takes {process['mib']} MiB before its first request.")
    assert engine_modules(process["modules"]) == set()
    assert {"maru.server.asgi", "rooms.socket.consumer", "rooms.pages.views"} <= {
        *process["modules"]
    }
    assert process["mib"] <= LARGEST_MIB


def test_loaded_engine_is_detected(tmp_path: Path) -> None:
    process = run_in_production_profile(tmp_path, "import agents.engine")

    assert {"agents.engine", "agents.engine.environment"} <= engine_modules(process["modules"])
    assert engine_modules(["crewai.llm", "numpy", "django"]) == {"crewai", "numpy"}


def test_deployment_check_is_part_of_make_check() -> None:
    assert "tests.codebase.production_check" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    "protection", ["SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS"]
)
def test_deployment_check_fails_if_a_protection_is_off(settings: Settings, protection: str) -> None:
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_INCLUDE_SUBDOMAINS"):
        setattr(settings, name, True)
    settings.SECURE_HSTS_SECONDS, settings.SECURE_HSTS_PRELOAD = 31_536_000, True
    call_command("check", deploy=True, fail_level="WARNING")

    setattr(settings, protection, 0)

    with pytest.raises(SystemCheckError):
        call_command("check", deploy=True, fail_level="WARNING")
