"""The project package: settings, URL configuration and server process."""

__version__ = "0.1.0"
