"""Live access to rooms: WebSocket connections and Server-Sent Events."""
