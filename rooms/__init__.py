"""Rooms: members, messages, runs that answer messages, and delivery of events to clients."""
