"""The production profile: what a web process loads, and what Django's own check says of it."""

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

ENGINES_OWN = {"crewai", "crewai_core", "litellm", "openai", "anthropic", "chromadb", "onnxruntime"}
ENGINES_OWN |= {"tiktoken", "tokenizers", "lancedb", "pdfplumber", "instructor", "numpy", "pandas"}
LARGEST_MIB = 160

WEB_PROCESS = """
import maru.server.asgi
from django.urls import get_resolver
get_resolver().reverse_dict
"""
WHAT_IT_TOOK = """
import json, sys
# Not ru_maxrss: that remembers the process which has started this one.
status = open("/proc/self/status").read()
mib = int(status.split("VmRSS:")[1].split()[0]) // 1024
print(json.dumps({"mib": mib, "modules": sorted(sys.modules)}))
"""


def taken(folder: Path, code: str) -> dict[str, Any]:
    """Return what `code` took in a process of the production profile; no service answers it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MARU_")}
    path = f"{ROOT}{os.pathsep}{ROOT / 'platform'}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + WHAT_IT_TOOK],
        cwd=folder,
        env={**plain, **PRODUCTION, "MARU_DATA_DIR": str(folder), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def of_the_engine(modules: Collection[str]) -> set[str]:
    return ENGINES_OWN & {module.partition(".")[0] for module in modules} | {
        module for module in modules if module.startswith("agents.engine")
    }


def test_web_process_loads_nothing_of_the_engine(tmp_path: Path) -> None:
    process = taken(tmp_path, WEB_PROCESS)

    print(f"A web process takes {process['mib']} MiB before its first request.")
    assert of_the_engine(process["modules"]) == set()
    assert {"maru.server.asgi", "rooms.socket.consumer", "rooms.pages.views"} <= {
        *process["modules"]
    }
    assert process["mib"] <= LARGEST_MIB


def test_an_engine_that_is_loaded_is_noticed(tmp_path: Path) -> None:
    process = taken(tmp_path, "import agents.engine")

    assert of_the_engine(process["modules"]) == {"agents.engine", "agents.engine.environment"}
    assert of_the_engine(["crewai.llm", "numpy", "django"]) == {"crewai", "numpy"}


def test_deployment_check_is_part_of_make_check() -> None:
    assert "tests.codebase.production_check" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    "protection", ["SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS"]
)
def test_deployment_check_notices_a_protection_that_is_off(
    settings: Settings, protection: str
) -> None:
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_INCLUDE_SUBDOMAINS"):
        setattr(settings, name, True)
    settings.SECURE_HSTS_SECONDS, settings.SECURE_HSTS_PRELOAD = 31_536_000, True
    call_command("check", deploy=True, fail_level="WARNING")

    setattr(settings, protection, 0)

    with pytest.raises(SystemCheckError):
        call_command("check", deploy=True, fail_level="WARNING")
