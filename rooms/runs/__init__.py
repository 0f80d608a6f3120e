"""The life of an answer: queue, runner, context, deltas and delta store."""
