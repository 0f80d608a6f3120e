"""Personas, their connections to providers, and the engine; imports nothing from rooms."""
