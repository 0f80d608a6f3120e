"""Settings that must be made before CrewAI is imported: no telemetry, no tracing, no dotenv."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

VARIABLES: Final = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
    "PYTHON_DOTENV_DISABLED": "true",  # else CrewAI loads the nearest .env into this process
}


def prepare() -> None:
    """Set the variables and give CrewAI a temporary folder, which is deleted at exit."""
    folder = tempfile.mkdtemp(prefix="maru-crewai-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(VARIABLES, CREWAI_STORAGE_DIR=folder)
    if not os.access(Path("~").expanduser(), os.W_OK):
        os.environ["HOME"] = folder  # CrewAI creates a folder in HOME when it is imported


def decline_tracing() -> None:
    """Store "no" as the answer to CrewAI's first-run question about tracing.

    Call this before CrewAI is imported. Without a stored answer, CrewAI records every prompt of the
    process for a trace that it offers to upload, even with CREWAI_TRACING_ENABLED=false.
    """
    from crewai_core.user_data import update_user_data  # noqa: PLC0415 - after `prepare`

    update_user_data({"first_execution_done": True, "trace_consent": False})
