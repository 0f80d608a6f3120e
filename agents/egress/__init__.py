"""Outgoing requests: name resolution and the egress guard."""
