"""Runs: queue, leases, runner, context, deltas and delta store."""
