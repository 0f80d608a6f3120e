"""The REST endpoints of accounts and teams, and the code that all REST endpoints share."""
