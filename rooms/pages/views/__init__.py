"""The pages of rooms. Each asks a gate or calls a service; the socket makes them live."""
