"""The environment of tests that are run once more on PostgreSQL: that of all, but for the stores.

A plugin for a pytest of its own, which is told the stores as a process in production is.
"""

import os

import pytest
from pytest_django import Settings

_STORES = {name: os.environ[name] for name in ("MARU_DATABASE_URL", "MARU_REDIS_URL")}

import tests.plugins.environment  # noqa: E402, F401  # it forgets whatever names a store

os.environ |= {**_STORES, "MARU_SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz"}


@pytest.fixture(autouse=True)
def _uncollected(settings: Settings) -> None:
    """Nobody has collected static files: pages name them as they lie in their folders."""
    files = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": files}
