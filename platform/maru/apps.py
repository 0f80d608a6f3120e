"""Registers the project as an app, for its management commands and its translations."""

from django.apps import AppConfig


class MaruConfig(AppConfig):
    name = "maru"
