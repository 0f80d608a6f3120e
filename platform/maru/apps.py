"""Registers the project itself as an app, for its commands and its words."""

from django.apps import AppConfig


class MaruConfig(AppConfig):
    name = "maru"
