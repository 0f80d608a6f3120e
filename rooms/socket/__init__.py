"""The live ways in: WebSocket and Server-Sent Events."""
