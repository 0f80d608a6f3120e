"""Tool servers that speak the Model Context Protocol (MCP), over HTTP only.

`client`, `sessions` and `inspect` import the `mcp` SDK, which takes a second: no web process
imports them. A web process starts `python -m agents.mcp.inspect` (see `child`).
"""
