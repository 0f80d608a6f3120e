"""The floor that rooms, agents and accounts open onto: settings, routes and the server."""

__version__ = "0.1.0"
