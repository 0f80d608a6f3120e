"""Faults of connections and clients."""
