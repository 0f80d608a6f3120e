"""MCP servers of our own, over HTTP: one that behaves well, and one that does not."""
