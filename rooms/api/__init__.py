"""The REST endpoints of rooms."""
