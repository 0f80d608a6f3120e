"""MCP servers: the client, the sign-in, and the inspection of a server."""
