"""The REST endpoints of accounts and teams, and what all REST endpoints share."""
