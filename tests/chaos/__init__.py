"""Fault injection, a tool: `make chaos` runs it at full size, tests/cluster runs it small."""
