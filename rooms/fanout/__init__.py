"""Delivery of a room's frames: from the publisher to every connection of every process."""
