"""The environment of tests that are repeated on PostgreSQL: the usual one with other stores.

A plugin for a child pytest, which gets the stores by environment variables, as in production.
"""

import os

import pytest
from pytest_django import Settings

_STORES = {name: os.environ[name] for name in ("MARU_DATABASE_URL", "MARU_REDIS_URL")}

import tests.plugins.environment  # noqa: E402, F401  # removes all MARU_* variables
from tests.cluster.harness import SECRET_KEY  # noqa: E402

os.environ |= {**_STORES, "MARU_SECRET_KEY": SECRET_KEY}


@pytest.fixture(autouse=True)
def _uncollected_static_files(settings: Settings) -> None:
    """No `collectstatic` has run, so pages must use the original names of static files."""
    files = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": files}
