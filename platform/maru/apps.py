"""The Django app `maru`, which has the management commands and the translations."""

from django.apps import AppConfig


class MaruConfig(AppConfig):
    name = "maru"
